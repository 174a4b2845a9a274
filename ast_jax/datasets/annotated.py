"""One photograph with a box, key points, a mask and perhaps a camera: what CUB and PASCAL3D+ have of an object."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from ast_jax.data.crop import Box, check_box
from ast_jax.data.frames import FRAMINGS, square_camera, square_keypoints
from ast_jax.data.images import read_image
from ast_jax.data.record_check import check_rotation
from ast_jax.data.store import ObjectRecord
from ast_jax.datasets.cutout import placeholder_camera
from render import from_cmr


@dataclass(frozen=True)
class PhotoCamera:
    """Weak perspective in a photograph: ``x_px = scale (R x_world)_xy + shift``; x right, y down, z forward.

    Args:
      scale: pixels per world unit, > 0.
      shift: pixel numbers x and y, the first is 1.
      rotation: R; the world has +Y up and the front at +Z.
    """

    scale: float
    shift: Float[np.ndarray, "2"]
    rotation: Float[np.ndarray, "3 3"]


@dataclass(frozen=True)
class Annotation:
    """What is known of the object in one photograph.

    Args:
      path: of the photograph.
      box: x1, y1, x2, y2: numbers of the first and the last pixel, the first of the picture is 1.
      parts: ``[p, 3]``, x and y as pixel numbers, the first is 1; visible (> 0).
      mask: gives it when called, ``[h, w]`` of 0 and 1; raises a ValueError where it cannot.
      camera: or None.
    """

    path: Path
    box: Float[np.ndarray, "4"]
    parts: Float[np.ndarray, "p 3"]
    mask: Callable[[], np.ndarray]
    camera: PhotoCamera | None = None


def read_annotation(annotation: Annotation, variant: str, image_size: int) -> ObjectRecord:
    """The square picture, mask, key points and camera of an annotated object.

    Args:
      annotation: of the object.
      variant: ``cmr`` or ``ast``: whose square, see ``frames``.
      image_size: side of the stored picture, px.

    Returns:
      A record of one view; its camera is orthographic, or a placeholder where the annotation has none.

    Raises:
      ValueError: photograph or mask are missing or broken, or the annotation does not fit them; names the file.
    """
    rgb = read_image(annotation.path, as_stored=True)[..., :3]  # box and parts count the pixels of the file
    mask = np.asarray(annotation.mask())
    _check(annotation, rgb, mask)
    framing = FRAMINGS[variant]
    try:
        square = framing.square(annotation.box)
        check_box(square, rgb.shape[:2])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{annotation.path}: {error}") from error
    image = framing.cut(rgb, (mask > 0).astype(np.uint8), square, image_size)
    if not image[..., 3].any():
        raise ValueError(f"{annotation.path}: no pixel of the mask lies in the box; mask and box do not fit.")
    x1, y1, x2, y2 = annotation.box
    # Distances from the border of the photograph: the first pixel has number 1 and begins at 0.
    edges = np.array([x1 - 1 - square.left, y1 - 1 - square.top, x2 - square.left, y2 - square.top])
    return ObjectRecord(
        images=image[None],
        keypoints_ndc=square_keypoints(annotation.parts, square)[None],
        box_share=np.array([(max(x2 - x1, y2 - y1) + 1) / square.side], np.float32),
        box=(edges / square.side).astype(np.float32)[None],
        **_stored_camera(annotation.camera, square),
    )


def _stored_camera(camera: PhotoCamera | None, square: Box) -> dict[str, np.ndarray]:
    if camera is None:
        return placeholder_camera(1)
    quaternion = Rotation.from_matrix(camera.rotation).as_quat(scalar_first=True)
    numbers = np.array([[*square_camera(camera.scale, camera.shift, square), *quaternion]], np.float32)
    same = from_cmr(numbers).orthographic()
    stored = {"rotation": same.rotation, "translation": same.translation, "focal": same.scale}
    return {name: np.asarray(array) for name, array in (stored | {"principal": same.principal}).items()}


def _check(annotation: Annotation, rgb: np.ndarray, mask: np.ndarray) -> None:
    path, box = annotation.path, annotation.box
    if mask.shape != rgb.shape[:2]:
        sizes = " but ".join(f"{w} x {h} px" for h, w in (mask.shape, rgb.shape[:2]))
        raise ValueError(f"{path}: the mask is {sizes} the photograph.")
    if not mask.any():
        raise ValueError(f"{path}: its mask is empty.")
    if not np.isfinite(box).all() or (box[2:] < box[:2]).any():
        raise ValueError(f"{path}: its box {box.tolist()} is none; expected x1, y1, x2, y2.")
    if not (annotation.parts[:, 2] > 0).any():
        raise ValueError(f"{path}: none of its key points is visible.")
    if not np.isfinite(annotation.parts).all():
        raise ValueError(f"{path}: a key point is not finite.")
    if annotation.camera is not None:
        _check_camera(path, annotation.camera)


def _check_camera(path: Path, camera: PhotoCamera) -> None:
    rotation = camera.rotation
    finite = np.isfinite(rotation).all() and np.isfinite(camera.shift).all() and np.isfinite(camera.scale)
    if not finite or camera.scale <= 0:
        raise ValueError(f"{path}: its camera has scale {camera.scale} or a number that is not finite.")
    try:
        check_rotation(rotation)
    except ValueError as error:
        raise ValueError(f"{path}: the rotation of its camera is none ({error})") from error
