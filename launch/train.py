"""Train a model, evaluate it on held-out objects, and write the report.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart

The same command again goes on where it stopped. SIGTERM and SIGUSR1 save and end with exit code 42. Every leaf of the
config can be overridden: ``--config.optimizer.learning_rate=1e-4``. Many hosts: docs/launch.md.
"""

from absl import flags, logging

from ast_jax.process import command_line, runtime
from ast_jax.process import flags as machine_flags

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder that receives everything the run writes.")
_ALLOW_CHANGE = flags.DEFINE_bool("allow_config_change", False, "Go on although the run has another config.")
_PROFILE = flags.DEFINE_string("profile_steps", "", "first:stop: write a trace of these steps, e.g. 10:15.")
_REPORT = flags.DEFINE_bool("report", True, "Evaluate and write the report at the end.")
flags.adopt_module_key_flags(machine_flags)  # --help shows them


def main(argv: list[str]) -> None:
    """Flags in, run out."""
    del argv
    command_line.check_given("workdir", _WORKDIR.value)
    machine_flags.setup_from_flags()
    from ast_jax.training.loop import train  # after the devices are set up
    from ast_jax.training.workdir import owning_run

    with owning_run(_WORKDIR.value):
        steps = train(
            _CONFIG.value,
            _WORKDIR.value,
            allow_config_change=_ALLOW_CHANGE.value,
            profile_steps=_PROFILE.value,
        )
        logging.info("trained %d steps", steps)
        if _REPORT.value:
            from ast_jax.reports.summary import write_summary

            write_summary(_WORKDIR.value)
        runtime.mark_done(_WORKDIR.value, steps)


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["config", "workdir"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
