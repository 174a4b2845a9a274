"""The binvox format: a short text header, then runs of (value, count) bytes, y fastest, then z, then x."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ast_jax.files.limits import check_memory

# The largest that the program binvox writes.
MAX_SIDE = 4096
_SIZE = re.compile(rb"[0-9]{1,4}")


def read_binvox(path: str | Path) -> Bool[np.ndarray, "x y z"]:
    """Read a voxel file.

    Args:
      path: ``.binvox``, version 1. Its translation and scale are not read.

    Returns:
      Voxels, indexed x, y, z.

    Raises:
      ValueError: missing, another format, larger than memory, or cut short.

    Source: Min, binvox, https://www.patrickmin.com/binvox/binvox.html.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: not readable ({error}).") from error
    header, found, body = content.partition(b"\ndata\n")
    lines = [line.split() for line in header.splitlines()]
    sizes = next((line[1:] for line in lines if line[:1] == [b"dim"]), [])
    if not content.startswith(b"#binvox") or not found or len(sizes) != 3:
        raise ValueError(f"{path}: not a binvox file.")
    if not all(_SIZE.fullmatch(size) and 0 < int(size) <= MAX_SIDE for size in sizes):
        raise ValueError(f"{path}: dim {b' '.join(sizes)!r}, expected three numbers from 1 to {MAX_SIDE}.")
    depth, height, width = (int(size) for size in sizes)
    check_memory(path, 2 * depth * height * width)
    runs = np.frombuffer(body[: len(body) // 2 * 2], np.uint8).reshape(-1, 2)
    if runs[:, 1].sum(dtype=np.int64) != depth * height * width:
        raise ValueError(f"{path}: its runs do not fill {depth} x {height} x {width} voxels; it is cut short.")
    voxels = np.repeat(runs[:, 0] > 0, runs[:, 1]).reshape(depth, height, width)  # x, z, y
    return np.ascontiguousarray(voxels.swapaxes(1, 2))
