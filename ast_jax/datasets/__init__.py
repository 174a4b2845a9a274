"""Published data sets, one file each: ``read(options) -> Collection``. A new one gets a line in ``NAMES``."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from ast_jax.data.records import Collection
from ast_jax.files.limits import check_memory

# Of a stored picture while it is made: float32 RGBA, twice, and the bytes that are stored.
_BYTES_PER_PIXEL = 36


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may be asked for.

    Args:
      source: the download: a folder, or an archive where the reader says so.
      category: of several in one download: name or id; empty where there is only one.
      image_size: side of the stored square pictures, px; 0: that of the data set's protocol.
      variant: of the protocol, where there are several; empty for the reader's default.
      seed: of what the reader chooses by chance.
      checking: nothing will be prepared: list all files, and spare what takes long.
    """

    source: Path
    category: str = ""
    image_size: int = 0
    variant: str = ""
    seed: int = 0
    checking: bool = False

    def __post_init__(self):
        """Raises a ValueError where a number makes no sense, or one picture needs more memory than there is."""
        for name in ("image_size", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 0.")
        check_memory(f"image_size={self.image_size}", _BYTES_PER_PIXEL * self.image_size**2)


Reader = Callable[[ReadOptions], Collection]


def _reader(module: str) -> Reader:
    """``read`` of a module of this package, imported when it is called: one data set costs no other's imports."""
    return lambda options: import_module(f"{__name__}.{module}").read(options)


NAMES = (
    "coco",
    "cub",
    "cub_cmr",
    "folder",
    "joined",
    "pascal3d",
    "shapenet_dvr",
    "shapenet_nmr",
    "shapenet_occnet",
)
DATASETS: dict[str, Reader] = {name: _reader(name) for name in NAMES}


def read_dataset(name: str, options: ReadOptions) -> Collection:
    """List a data set.

    Raises:
      ValueError: unknown name, or nothing of the kind at ``options.source``; the message says what belongs there.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset={name!r}: choose one of {', '.join(sorted(DATASETS))}.")
    if not options.source.exists():
        raise ValueError(f"{options.source}: there is nothing; --source is the download, see docs/data.md.")
    with np.errstate(all="ignore"):  # what overflows is not finite afterwards, and that is looked at with each object
        return DATASETS[name](options)
