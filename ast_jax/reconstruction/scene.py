"""Several objects of one photograph where they stand, as one scene."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ast_jax.export import join_glb
from ast_jax.reconstruction.result import Reconstruction

# Of the camera that took the photograph, which nothing tells: that of the pictures that models learn from.
_FOV_Y_RAD = np.pi / 6


def encode_scene(results: Sequence[Reconstruction]) -> bytes:
    """A GLB with one node for each object, seen from the camera at its origin as in the photograph.

    Args:
      results: of one photograph.
    """
    return join_glb([(r.name, next(iter(r.encode("glb").values())), placement(r)) for r in results])


def placement(result: Reconstruction, fov_y_rad: float = _FOV_Y_RAD) -> Float[np.ndarray, "4 4"]:
    """World space of the object to the space of the photograph's camera: at its origin, looking along -Z, +Y up.

    Objects keep their size, so one that is half as large in the photograph stands twice as far away. With the crop's
    camera ``R, t, focal f``, depth ``d`` of the object, the crop ``s`` times as high as the photograph and the
    photograph's focal length F, it stands at depth ``d F / (s f)`` on the ray through its centre, and is turned as much
    as that ray is turned against the ray of the crop's camera.

    Args:
      result: its camera, crop and the size of its photograph are used.
      fov_y_rad: vertical field of view of the photograph.
    """
    camera, (height, width) = result.camera, result.image_size
    rotation, translation = np.asarray(camera.rotation[0], float), np.asarray(camera.translation[0], float)
    focal, principal = np.asarray(camera.focal[0], float), np.asarray(camera.principal[0], float)
    share = result.box.side / height
    centre = np.array([result.box.left + result.box.side / 2, result.box.top + result.box.side / 2])
    offset = np.array([2 * centre[0] - width, height - 2 * centre[1]]) / height
    depth = -translation[2]
    place = share * (focal * translation[:2] / depth + principal) + offset
    ray = np.array([*place * np.tan(fov_y_rad / 2), -1.0])
    distance = depth / np.tan(fov_y_rad / 2) / (share * np.sqrt(focal[0] * focal[1]))
    matrix = np.eye(4)
    matrix[:3, :3] = _turn(translation, ray) @ rotation
    matrix[:3, 3] = result.settings.scale * distance * ray
    return matrix


def _turn(start: Float[np.ndarray, " 3"], end: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The least rotation that turns one direction to another; both look ahead, so they are never opposite."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + start @ end)
