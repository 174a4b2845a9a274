"""Terms on predicted cameras."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.losses.term import CAMERA, CANDIDATES, Seen, Term
from render import Camera, PerspectiveCamera

# Below this error a root is a parabola: 1.1 degrees, and a third of a pixel in 64.
_SMALL = 0.01
_HALF_SIDE = 0.25  # of the cube whose corners are compared, world units: about as large as an object


def uniform_pose_loss(probs: Float[Array, "b k"]) -> Float[jax.Array, ""]:
    """Keeps all camera candidates in use: ``mean_k |mean_b p_k - 1 / K|``.

    Args:
      probs: probability of each candidate, rows sum to 1.

    Returns:
      one value >= 0 for the batch; 0 when the candidates are used equally often.

    Source: Monnier et al., Unicorn, ECCV 2022, eq. 6; same in the released AST code.
    """
    return jnp.abs(probs.mean(axis=0) - 1.0 / probs.shape[1]).mean()


def camera_rotation_loss(rotation: Float[Array, "b 3 3"], target: Float[Array, "b 3 3"]) -> Float[jax.Array, " b"]:
    """How far two rotations are apart, by the chordal distance.

    ``(3 - trace(R^T R')) / 4 = (1 - cos angle) / 2``, smooth for every angle: the angle itself has no
    gradient at 0 and the arc cosine an infinite one.

    Args:
      rotation: predicted world-to-view rotations.
      target: the true ones.

    Returns:
      one value in [0, 1] per image: 0 for equal rotations, 1 for opposite ones (180 degrees).

    Source: Huynh, Metrics for 3D rotations, JMIV 2009, squared Phi_5 up to scale.
    """
    return (3.0 - jnp.sum(rotation * target, axis=(1, 2))) / 4.0


def camera_place_loss(camera: PerspectiveCamera, target: Camera) -> Float[jax.Array, " b"]:
    """How far apart two cameras put the corners of a cube in the picture, their rotations left out.

    ``mean_p |x_p - x'_p|^2``, both seen with the rotation of ``target``: scale and place are learned whether or not
    the rotation is right already.

    Args:
      camera: predicted, leading axis ``[b]``.
      target: the true ones.

    Returns:
      one value >= 0 per image, squared NDC.
    """
    corners = np.stack(np.meshgrid(*[(-_HALF_SIDE, _HALF_SIDE)] * 3), -1).reshape(1, 8, 3).astype(np.float32)
    points = jnp.broadcast_to(corners, (len(target.rotation), 8, 3))
    places = [c.project(points) for c in (dataclasses.replace(camera, rotation=target.rotation), target)]
    first, second = (clip[..., :2] / clip[..., 3:] for clip in places)
    return jnp.square(first - second).sum(-1).mean(-1)


def camera_loss(camera: PerspectiveCamera, target: Camera) -> Float[jax.Array, " b"]:
    """How wrong a camera is: about half the angle in radians and the distance of places in NDC, added.

    ``h(rotation) + h(place)`` of `camera_rotation_loss` and `camera_place_loss`, which are squares;
    ``h(x) = sqrt(x + s^2) - s`` takes their root and is smooth at 0 (pseudo-Huber). The squares hardly pull at a camera
    that is a few degrees off, and everything that looks through it is off by pixels.

    Args:
      camera: predicted, leading axis ``[b]``.
      target: the true ones.

    Returns:
      one value >= 0 per image.

    Source: pseudo-Huber loss, Charbonnier et al., ICIP 1994.
    """
    squares = camera_rotation_loss(camera.rotation, target.rotation), camera_place_loss(camera, target)
    # Rounding makes squares of equal cameras a little negative.
    return sum(jnp.sqrt(jnp.maximum(square, 0.0) + _SMALL**2) - _SMALL for square in squares)


def camera_quaternion_loss(camera: PerspectiveCamera, target: Camera) -> Float[jax.Array, " b"]:
    """How wrong a camera is, as CMR measures it: ``1 - |<q, q'>|`` of the unit quaternions, and squares for the place.

    ``|<q, q'>| = |cos(angle / 2)| = sqrt(1 - r)`` of `camera_rotation_loss` r, and `camera_place_loss`.

    Args:
      camera: predicted, leading axis ``[b]``.
      target: the true ones.

    Returns:
      one value >= 0 per image; the part of the rotation is at most 1.

    Source: Kanazawa et al., CMR, ECCV 2018, released code (``camera_loss``, ``quat_loss_geodesic``).
    """
    # CMR's own squares are those of the scale and the shift of its weak perspective, which our cameras do not have.
    cosine = jnp.sqrt(jnp.maximum(1.0 - camera_rotation_loss(camera.rotation, target.rotation), 1e-8))
    return 1.0 - jnp.minimum(cosine, 1.0) + camera_place_loss(camera, target)


def _uniform_pose(seen: Seen) -> Float[jax.Array, ""]:
    return uniform_pose_loss(jax.nn.softmax(seen.prediction.camera_logits))


def intermediate_camera_loss(cameras: Camera | None, target: Camera) -> Float[jax.Array, " b"]:
    """Mean of `camera_loss` over the cameras of earlier steps, the regressed one among them.

    Args:
      cameras: leading axes ``[b, k]``; None, of a model without such steps, costs nothing.
      target: the true ones, leading axis ``[b]``.

    Returns:
      one value >= 0 per image.
    """
    if cameras is None:
        return jnp.zeros(len(target.rotation))
    b, k = cameras.rotation.shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(b * k, *x.shape[2:]), cameras)
    repeated = jax.tree.map(lambda x: jnp.repeat(x, k, axis=0), target)
    return camera_loss(flat, repeated).reshape(b, k).mean(1)


TERMS = (
    Term("camera", lambda seen: camera_loss(seen.prediction.input_camera, seen.batch.input_camera), CAMERA),
    Term(
        "camera_quaternion",
        lambda seen: camera_quaternion_loss(seen.prediction.input_camera, seen.batch.input_camera),
        CAMERA,
    ),
    Term(
        "intermediate_camera",
        lambda seen: intermediate_camera_loss(seen.prediction.intermediate_cameras, seen.batch.input_camera),
        CAMERA,
    ),
    Term("uniform_pose", _uniform_pose, CANDIDATES, phases=("pose",)),
)
