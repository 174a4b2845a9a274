"""Several candidate cameras that the network weighs, for pictures of unknown camera."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.cameras.answer import CameraOutput
from ast_jax.model.cameras.geometry import rotation_from_angles
from ast_jax.model.layers import Mlp, Sizes
from render import PerspectiveCamera
from render.camera import NMR_DISTANCE

# All from the released AST code (src/model/ast.py and configs/cub.yml), in our view space (camera looks down -z).
_FIELD_OF_VIEW_RAD = np.deg2rad(30.0)
_BIN_FRACTION = 0.52  # candidates may turn by a little more than half a bin, so that together they cover everything


def _camera(rotation, translation) -> PerspectiveCamera:
    focal = jnp.full((*translation.shape[:-1], 2), 1 / np.tan(_FIELD_OF_VIEW_RAD / 2), translation.dtype)
    return PerspectiveCamera(rotation, translation, focal, jnp.zeros_like(focal))


class CandidateCameras(nnx.Module):
    """k cameras round the object with a probability each.

    Candidate i starts at azimuth 360 i / k, the middle of the elevations, roll 0 degrees and distance 2.732; each is
    corrected by offsets that tanh keeps within 0.52 of a bin: (31.2, 20.8, 31.2) degrees for k = 6, elevations of
    (-10, 30) and rolls of 60 degrees, and within ``shift`` in each coordinate of the translation.

    Args:
      dim: embedding size d of the summary.
      config: ``config.model.camera``; see `ast_jax.config.model.CameraConfig`.
    Source: the released AST code, sections "predict_poses" and "init_rend_params" of src/model/ast.py.
    """

    # AST-DIFF: probabilities, rotations and translations are live (the released code computes them under
    # no_grad).
    def __init__(self, dim: int, config, *, rngs: nnx.Rngs):
        self.count = count = config.num_candidates
        self.elevations_deg, self.roll_deg = tuple(config.candidate_elevations_deg), config.candidate_roll_deg
        self.shift = tuple(config.candidate_shift)
        if self.elevations_deg[0] > self.elevations_deg[-1]:
            raise ValueError(
                f"config.model.camera.candidate_elevations_deg={self.elevations_deg}: give lowest and highest, such as "
                "(-10.0, 30.0)."
            )
        sizes = (dim, dim, dim, 3 * count)
        self.rotation = Mlp(sizes, zero_last=True, rngs=rngs)
        self.translation = Mlp(sizes, zero_last=True, rngs=rngs)
        self.logits = Mlp((dim, dim, dim, count), zero_last=True, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> tuple[PerspectiveCamera, Float[Array, "b k"]]:
        """Cameras with leading axes [b, k], and the logits of their probabilities."""
        b, k = len(summary), self.count
        low, high = self.elevations_deg
        bins_deg = np.array([360.0 / k, high - low, self.roll_deg])
        reach_rad = np.deg2rad(_BIN_FRACTION * bins_deg).astype(np.float32)
        offsets = jnp.tanh(self.rotation(summary).reshape(b, k, 3)) * reach_rad[None, None]
        azimuth = np.deg2rad(360.0 / k * np.arange(k)).astype(np.float32)
        elevation = np.float32(np.deg2rad((low + high) / 2))
        rotation = rotation_from_angles(azimuth[None] + offsets[..., 0], elevation + offsets[..., 1], offsets[..., 2])
        shift = jnp.tanh(self.translation(summary).reshape(b, k, 3)) * np.array(self.shift, np.float32)[None, None]
        middle = np.array([0, 0, -NMR_DISTANCE], np.float32)
        return _camera(rotation, middle[None, None] + shift), self.logits(summary)


class ProposedCameras(nnx.Module):
    """The candidates, and the most probable one as the camera of the picture.

    Args:
      config: ``config.model.camera``; see `ast_jax.config.model.CameraConfig`.
      sizes: of the network.
    """

    sees = True

    def __init__(self, config, sizes: Sizes, *, rngs: nnx.Rngs):
        self.candidates = CandidateCameras(sizes.dim, config, rngs=rngs)

    def __call__(self, summary: Float[Array, "b d"]) -> CameraOutput:
        candidates, logits = self.candidates(summary)
        return CameraOutput(candidates, logits, most_probable(candidates, logits))


def most_probable(camera: PerspectiveCamera, logits: Float[Array, "b k"]) -> PerspectiveCamera:
    """The candidate with the highest probability, leading axes [b]."""
    best = jnp.argmax(logits, axis=1)
    return jax.tree.map(lambda leaf: jax.vmap(lambda row, i: row[i])(leaf, best), camera)
