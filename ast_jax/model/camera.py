"""Where the picture was taken from: given, or one of several candidates that the network weighs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.layers import Mlp
from ast_jax.near_match import choose
from render import PerspectiveCamera
from render.camera import rotation_from_6d

KINDS = ("given", "candidates")

# All from the released AST code (src/model/ast.py and configs/cub.yml), in our view space (camera looks down
# -z).
_DISTANCE = 2.732
_FIELD_OF_VIEW_RAD = np.deg2rad(30.0)
_ELEVATION_RANGE_DEG = (-10.0, 30.0)
_ROLL_BIN_DEG = 60.0
_BIN_FRACTION = 0.52  # candidates may turn by a little more than half a bin, so that together they cover everything
_TRANSLATION_RANGE = 0.3
_DEFAULT_ROTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# An object of radius 0.4 at that distance then fills a crop with a margin of a tenth, as `ast_jax.data.crop` cuts it.
_FIRST_FOCAL = _DISTANCE / 0.4 / 1.2


def rotation_from_angles(
    azimuth_rad: Float[Array, "*b"], elevation_rad: Float[Array, "*b"], roll_rad: Float[Array, "*b"]
) -> Float[Array, "*b 3 3"]:
    """World-to-view rotation Rz(roll) Rx(elevation) Ry(-azimuth) of a camera that looks at the origin.

    The camera's direction from the origin is (cos el sin az, sin el, cos el cos az); a positive roll turns
    the picture counter-clockwise.
    """
    zero, one = jnp.zeros_like(azimuth_rad), jnp.ones_like(azimuth_rad)
    ca, sa = jnp.cos(azimuth_rad), jnp.sin(azimuth_rad)
    ce, se = jnp.cos(elevation_rad), jnp.sin(elevation_rad)
    cr, sr = jnp.cos(roll_rad), jnp.sin(roll_rad)
    about_y = _matrix((ca, zero, -sa), (zero, one, zero), (sa, zero, ca))
    about_x = _matrix((one, zero, zero), (zero, ce, -se), (zero, se, ce))
    about_z = _matrix((cr, -sr, zero), (sr, cr, zero), (zero, zero, one))
    return jnp.matmul(jnp.matmul(about_z, about_x, precision="highest"), about_y, precision="highest")


def _matrix(*rows):
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _camera(rotation, translation) -> PerspectiveCamera:
    focal = jnp.full((*translation.shape[:-1], 2), 1 / np.tan(_FIELD_OF_VIEW_RAD / 2), translation.dtype)
    return PerspectiveCamera(rotation, translation, focal, jnp.zeros_like(focal))


class CandidateCameras(nnx.Module):
    """k cameras round the object with a probability each.

    Candidate i starts at azimuth 360 i / k, elevation 10, roll 0 degrees and distance 2.732; each is
    corrected by tanh-bounded offsets: (31.2, 20.8, 31.2) degrees for k = 6, and 0.3 in each coordinate of the
    translation.

    Args:
      dim: embedding size d of the summary.
      count: candidates k.
    Source: the released AST code, sections "predict_poses" and "init_rend_params" of src/model/ast.py.
    """

    # AST-DIFF: probabilities, rotations and translations are live (the released code computes them under
    # no_grad).
    def __init__(self, dim: int, count: int, *, rngs: nnx.Rngs):
        if count < 1:
            raise ValueError(f"camera.num_candidates={count}: at least one is needed")
        self.count = count
        sizes = (dim, dim, dim, 3 * count)
        self.rotation = Mlp(sizes, zero_last=True, rngs=rngs)
        self.translation = Mlp(sizes, zero_last=True, rngs=rngs)
        self.logits = Mlp((dim, dim, dim, count), zero_last=True, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> tuple[PerspectiveCamera, Float[Array, "b k"]]:
        """Cameras with leading axes [b, k], and the logits of their probabilities."""
        b, k = len(summary), self.count
        low, high = _ELEVATION_RANGE_DEG
        bins_deg = np.array([360.0 / k, high - low, _ROLL_BIN_DEG])
        reach_rad = np.deg2rad(_BIN_FRACTION * bins_deg).astype(np.float32)
        offsets = jnp.tanh(self.rotation(summary).reshape(b, k, 3)) * reach_rad[None, None]
        azimuth = np.deg2rad(360.0 / k * np.arange(k)).astype(np.float32)
        elevation = np.float32(np.deg2rad((low + high) / 2))
        rotation = rotation_from_angles(azimuth[None] + offsets[..., 0], elevation + offsets[..., 1], offsets[..., 2])
        shift = jnp.tanh(self.translation(summary).reshape(b, k, 3)) * _TRANSLATION_RANGE
        middle = np.array([0, 0, -_DISTANCE], np.float32)
        return _camera(rotation, middle[None, None] + shift), self.logits(summary)


class CameraRegressor(nnx.Module):
    """The camera of the picture that the model sees, regressed; at first one in front.

    Rotation from six numbers; ``focal = first * exp(s)`` on both axes and the principal point say how large and where
    the object is in the crop. The distance is fixed: in a crop it shows only as perspective.

    Args:
      dim: embedding size d of the summary.
    """

    def __init__(self, dim: int, *, rngs: nnx.Rngs):
        self.mlp = Mlp((dim, dim, 9), zero_last=True, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> PerspectiveCamera:
        values = self.mlp(summary)
        rotation = rotation_from_6d(values[:, :6] + np.array(_DEFAULT_ROTATION, np.float32)[None])
        translation = jnp.broadcast_to(jnp.array([0, 0, -_DISTANCE], values.dtype), (len(values), 3))
        focal = _FIRST_FOCAL * jnp.exp(values[:, 6:7]) * jnp.ones((1, 2), values.dtype)
        return PerspectiveCamera(rotation, translation, focal, values[:, 7:])


class CameraOutput(NamedTuple):
    """Candidates [b, k] with their logits, and the camera [b] of the picture itself; None for what is not predicted."""

    candidates: PerspectiveCamera | None = None
    logits: Float[Array, "b k"] | None = None
    seen: PerspectiveCamera | None = None


class CameraBranch(nnx.Module):
    """Nothing for given cameras unless ``predict`` asks for that of the picture; else candidates.

    Args:
      config: ``config.model.camera``; see `ast_jax.config.model.CameraConfig`.
      dim: embedding size d.
    """

    def __init__(self, config, dim: int, *, rngs: nnx.Rngs):
        is_given = choose("config.model.camera.kind", config.kind, KINDS) == "given"
        self.regressor = CameraRegressor(dim, rngs=rngs) if is_given and config.predict else None
        self.candidates = None if is_given else CandidateCameras(dim, config.num_candidates, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> CameraOutput:
        if self.candidates is not None:
            candidates, logits = self.candidates(summary)
            return CameraOutput(candidates, logits, most_probable(candidates, logits))
        return CameraOutput() if self.regressor is None else CameraOutput(seen=self.regressor(summary))


def most_probable(camera: PerspectiveCamera, logits: Float[Array, "b k"]) -> PerspectiveCamera:
    """The candidate with the highest probability, leading axes [b]."""
    best = jnp.argmax(logits, axis=1)
    return jax.tree.map(lambda leaf: jax.vmap(lambda row, i: row[i])(leaf, best), camera)
