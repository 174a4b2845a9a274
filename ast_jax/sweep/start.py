"""One call for all three ways to run a sweep."""

import shlex

from ast_jax.sweep.local import find_devices, run_local
from ast_jax.sweep.slurm import make_script, submit
from ast_jax.sweep.units import Sweep, save_sweep

BACKENDS = ("print", "local", "slurm")


def start(
    sweep: Sweep,
    backend: str,
    *,
    index: int | None = None,
    max_parallel: int = 0,
    slurm_options: str = "",
    submit_it: bool = False,
    dry_run: bool = False,
) -> int:
    """Print the units' commands, run them here, or write a job array.

    Args:
      sweep: what to run.
      backend: one of ``BACKENDS``.
      index: only the unit with this number; it is not started again here when it was stopped, and may take all GPUs.
      max_parallel: units at a time; 0: as many as there are GPUs, or as the cluster grants.
      slurm_options: more of sbatch.
      submit_it: hand the job array to sbatch.
      dry_run: show what would be run; write nothing, start nothing.

    Returns:
      the exit code: 0 all is well, 1 units failed, 42 they were stopped and have saved.

    Raises:
      ValueError: the folder holds another sweep, there is no such unit, or no sbatch.
    """
    units = sweep.choose(index)
    shown = "\n".join(shlex.join(unit.command) for unit in units)
    if backend == "slurm":
        shown = make_script(sweep, index=index, options=slurm_options, max_parallel=max_parallel)
    if not dry_run:
        save_sweep(sweep)
        if backend == "local":
            devices = find_devices(max_parallel) if index is None else [None]
            return run_local(units, devices=devices, restart=index is None)
        if backend == "slurm":
            shown = submit(sweep, shown, at_once=submit_it)
    print(shown, flush=True)
    return 0
