"""The folder of a run: one process at a time, writable, with room for what will come."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import jax

from ast_jax.files.writing import append_lines, remove_leftovers
from ast_jax.process.ownership import owning
from ast_jax.training.monitoring.overview import size_of
from ast_jax.training.state import TrainState

DAMAGED = "damaged_"  # checkpoints that were set aside; they stay
_BEST_AND_UNDER_WAY = 2  # checkpoints beside the newest that are kept


@contextmanager
def owning_run(workdir: str | Path) -> Generator[None]:
    """Be the one run at work in a folder; of many processes the first one owns it for all.

    Raises:
      ValueError: another run is at work there, or the folder cannot be made or written to.
    """
    workdir = Path(workdir)
    is_new = not workdir.exists()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--workdir={workdir}: cannot be made ({error.strerror}); name another folder.") from error
    try:
        with owning(workdir) if jax.process_index() == 0 else nullcontext():
            if jax.process_index() == 0:
                remove_leftovers(workdir)
                for path in workdir.glob("*.jsonl"):
                    append_lines(path, "")  # a run that is done would append nothing, and leave a line that was cut
            yield
    finally:
        if is_new:
            with suppress(OSError):  # there is something in it
                workdir.rmdir()


def check_room(workdir: str | Path, state: TrainState, keep: int) -> None:
    """Whether the disk has room for the checkpoints of a run, beside those that are there already.

    Args:
      workdir: the run.
      state: what each of them holds.
      keep: how many of the newest are kept.

    Raises:
      ValueError: it has not.
    """
    workdir = Path(workdir)
    each = size_of(state.held).total
    needed = each * (keep + _BEST_AND_UNDER_WAY)
    folders = [path for path in (workdir / "checkpoints").glob("*") if not path.name.startswith(DAMAGED)]
    there = sum(_bytes_in(folder) for folder in folders)
    free = shutil.disk_usage(workdir).free
    if needed - there > free:
        raise ValueError(
            f"{workdir}: the checkpoints of this run take {needed / 1e9:.2f} GB ({each / 1e9:.2f} each), and the disk "
            f"has {free / 1e9:.2f} GB left; make room, choose another --workdir, or keep fewer "
            f"(config.keep_checkpoints={keep})."
        )


def _bytes_in(folder: Path) -> int:
    """Of all its files. What an earlier save left half done may be removed meanwhile, by Orbax in the background."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
