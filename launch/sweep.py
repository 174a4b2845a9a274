"""Run many variants of an experiment, the product of the sweeps that its config file names (docs/sweep.md).

    python -m launch.sweep --config=configs/quickstart.py --sweep=layers,seed --workdir=runs/sweep --backend=local

``print`` lists the commands, ``local`` runs them here, ``slurm`` writes a job array. The same command again goes on
where it stopped, and ``--summarize`` prints the table. ``--config.*`` overrides hold for every unit.
"""

import shlex
import sys

from absl import flags
from ml_collections import config_flags

from ast_jax import sweep
from ast_jax.process import command_line

_CONFIG = command_line.define_config()
_SWEEP = flags.DEFINE_list("sweep", [], "Names of sweep_* functions of the config file, separated by commas.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the sweep; each unit gets one in it.")
_BACKEND = flags.DEFINE_enum("backend", "print", sweep.BACKENDS, "What to do with the units.")
_INDEX = flags.DEFINE_integer("index", None, "Only the unit with this number.", lower_bound=0)
_PARALLEL = flags.DEFINE_integer("max_parallel", 0, "Units at a time; 0: one per GPU, or one.", lower_bound=0)
_TRAIN_FLAGS = flags.DEFINE_string("train_flags", "", 'For launch.train, such as "--noreport".')
_SLURM_OPTIONS = flags.DEFINE_string("slurm_options", "", 'For sbatch, such as "--gres=gpu:1 --time=24:00:00".')
_SUBMIT = flags.DEFINE_bool("submit", False, "slurm: also submit the script.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Show what would be run, write and start nothing.")
_SUMMARIZE = flags.DEFINE_bool("summarize", False, "Print the table of the sweep in --workdir, and no more.")


def main(argv: list[str]) -> None:
    """Flags in, units out; a wrong input ends with one line and exit code 1, before anything is started."""
    del argv
    command_line.check_given("workdir", _WORKDIR.value)
    sys.exit(print(sweep.write_table(_WORKDIR.value)) if _SUMMARIZE.value else _start())


def _start() -> int:
    config = flags.FLAGS["config"]
    if config.value is None:
        raise ValueError("--config: name the experiment, such as configs/quickstart.py or quickstart.")
    plan = sweep.make_sweep(
        config_flags.get_config_filename(config), _CONFIG.value, _SWEEP.value, _WORKDIR.value,
        common=config_flags.get_override_values(config), train_flags=shlex.split(_TRAIN_FLAGS.value),
        launchers=__package__ or "launch",
    )  # fmt: skip
    return sweep.start(
        plan, _BACKEND.value, index=_INDEX.value, max_parallel=_PARALLEL.value,
        slurm_options=_SLURM_OPTIONS.value, submit_it=_SUBMIT.value, dry_run=_DRY_RUN.value,
    )  # fmt: skip


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["workdir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
