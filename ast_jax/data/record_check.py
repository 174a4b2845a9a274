"""Do the arrays of an object make sense? Asked when one is written, and again when one is read."""

import numpy as np

# Largest entry of R R^T - 1: more than float32 and any chain of products leave, less than any shear that matters.
ROTATION_TOLERANCE = 1e-3
# name -> kinds of numbers, and the shape: a letter is the same length wherever it stands, n of views.
_ARRAYS = {
    "images": ("u", "n s s 4"),
    "rotation": ("f", "n 3 3"),
    "translation": ("f", "n 3"),
    "focal": ("f", "n 2"),
    "principal": ("f", "n 2"),
    "keypoints_ndc": ("f", "n p 3"),
    "occupancy": ("b", "r r r"),
    "surface_points": ("f", "m 3"),
    "surface_normals": ("f", "m 3"),
    "vertices": ("f", "v 3"),
    "faces": ("iu", "f 3"),
    "query_points": ("f", "q 3"),
    "query_inside": ("b", "q"),
    "box_share": ("f", "n"),
    "box": ("f", "n 4"),
}
# As `store` writes them.
_PACKED = {"occupancy": ("u", "o"), "query_inside": ("u", "i")}


def check_arrays(arrays: dict[str, np.ndarray], *, packed: bool = False) -> None:
    """Raises a ValueError where arrays of an ``ObjectRecord`` do not fit together or are none of their kind.

    Args:
      arrays: any of its fields.
      packed: as they are stored: truth of yes and no as bits.
    """
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        kinds, axes = _PACKED.get(name, _ARRAYS[name]) if packed else _ARRAYS[name]
        expected = axes.split()
        fits = array.ndim == len(expected) and all(
            sizes.setdefault(axis, size) == size if axis.isalpha() else size == int(axis)
            for axis, size in zip(expected, array.shape)
        )
        if not fits or array.dtype.kind not in kinds or (kinds == "u" and array.dtype != np.uint8):
            shape = ", ".join(str(sizes.get(axis, axis)) for axis in expected)
            kind = {"u": "uint8", "f": "float", "b": "bool", "iu": "integer"}[kinds]
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {kind} ({shape}).")
        if kinds == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has a number that is not finite.")
    if sizes.get("n") == 0 or sizes.get("s") == 0:
        raise ValueError("images: there is no picture.")
    _check_values(arrays)


def _check_values(arrays: dict[str, np.ndarray]) -> None:
    if "rotation" in arrays:
        check_rotation(arrays["rotation"])
    if "focal" in arrays and not (arrays["focal"] > 0).all():
        raise ValueError(f"focal: {arrays['focal'].min()} is not positive.")
    if "box_share" in arrays and not (arrays["box_share"] > 0).all():
        raise ValueError(f"box_share: {arrays['box_share'].min()} is not positive.")
    if "box" in arrays:
        left, top, right, lower = arrays["box"].T
        bad = (right <= left) | (lower <= top) | (right <= 0) | (lower <= 0) | (left >= 1) | (top >= 1)
        if bad.any():
            raise ValueError(f"box: {arrays['box'][bad][0].tolist()} is none, or lies outside the picture.")
    if "faces" in arrays and "vertices" in arrays and arrays["faces"].size:
        faces = arrays["faces"]
        if faces.min() < 0 or faces.max() >= len(arrays["vertices"]):
            raise ValueError(f"faces: names vertex {faces.max()}, there are {len(arrays['vertices'])}.")


def check_rotation(rotation: np.ndarray) -> None:
    """Raises a ValueError where ``[..., 3, 3]`` matrices are not orthogonal with determinant +1."""
    matrix = rotation.astype(np.float64)
    if np.abs(matrix @ matrix.swapaxes(-1, -2) - np.eye(3)).max(initial=0) > ROTATION_TOLERANCE:
        raise ValueError("rotation: a matrix is not orthogonal.")
    if (np.linalg.det(matrix) < 0).any():
        raise ValueError("rotation: a matrix is a reflection, its determinant is -1.")
