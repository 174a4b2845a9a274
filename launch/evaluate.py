"""Evaluate a run again and write its report: python -m launch.evaluate --checkpoint=runs/quickstart"""

from absl import flags

from ast_jax.training import runtime

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of the run (the --workdir of launch.train).")


def main(argv: list[str]) -> None:
    """Flags in, files out."""
    del argv
    runtime.setup()
    from ast_jax.summary import write_summary  # after the devices are set up

    write_summary(_CHECKPOINT.value)


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["checkpoint"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
