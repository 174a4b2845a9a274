"""Pictures of how far a run is: what the model sees, what it makes of it, and what that looks like from elsewhere."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict
from PIL import Image

from ast_jax.arrays import Array
from ast_jax.batch import Batch
from ast_jax.compile_options import quick_options
from ast_jax.prediction import Prediction
from render import Camera, Mesh, clay, render

PANELS = ("input", "target", "rendering", "mask", "target mask", "view at +60 deg", "view at +120 deg")
_TURNS_RAD = (0.0, np.pi / 3, 2 * np.pi / 3)  # of the camera about +Y: its own view, and two new ones


class Drawn(NamedTuple):
    """Pictures of predicted meshes.

    Args:
      views: from the pictures' own cameras, then turned by +60 and +120 deg; over the background.
      mask: coverage in the own view.
    """

    views: UInt8[Array, "n 3 h w 3"]
    mask: UInt8[Array, "n h w"]


Preview = Callable[[dict, Array, Camera], Drawn]


def make_preview(graphdef: nnx.GraphDef, config: ConfigDict) -> Preview:
    """Build the function that predicts and draws a few samples, to be called again and again in a run.

    Args:
      graphdef: structure of the model (``nnx.split``).
      config: the experiment; size, background and blending come from it.

    Returns:
      ``draw(params, image, camera)``, jitted: weights, pictures ``[n, h, w, c]`` in [0, 1], and their cameras with
      leading axis ``[n]``, which do not count where the model proposes cameras itself: then its most probable one does.
    """
    size = (config.data.render_size,) * 2

    @functools.partial(jax.jit, compiler_options=quick_options())
    def draw(params: dict, image: Float[Array, "n i j c"], camera: Camera) -> Drawn:
        prediction = nnx.merge(graphdef, params)(image)
        if prediction.camera is not None:
            camera = prediction.input_camera
        rgb, alpha = _render_turned(prediction, camera, size, config)
        views, mask = rgb.reshape(-1, len(_TURNS_RAD), *rgb.shape[1:]), alpha[:: len(_TURNS_RAD)]
        return Drawn(_to_bytes(views), _to_bytes(mask))

    return draw


def preview_strips(draw: Preview, params: dict, batch: Batch, *, num_samples: int = 4) -> UInt8[np.ndarray, "y x 3"]:
    """One row of pictures for each of the first samples of a batch; see ``PANELS``.

    Args:
      draw: made by `make_preview`.
      params: weights, all within reach of this process; they are copied to one device.
      batch: with its first supervising view, which is the input's own; within reach of this process.
      num_samples: rows; fewer where the batch is smaller. The same number again does not compile again.

    Returns:
      a picture of ``num_samples * h`` times ``7 * w`` pixels, h and w those of the supervising views.
    """
    few: Batch = jax.tree.map(lambda leaf: np.asarray(leaf[:num_samples]), batch)
    camera = jax.tree.map(lambda leaf: leaf[:, 0], few.camera)
    drawn = jax.device_get(draw(jax.device_get(params), few.image, camera))
    own, *turned = np.moveaxis(drawn.views, 1, 0)
    target, target_mask = few.target_images[:, 0], few.target_masks[:, 0]
    height, width = target_mask.shape[1:]
    image, target, target_mask = jax.device_get([_to_bytes(x) for x in (few.image[..., :3], target, target_mask)])
    seen = np.stack([_resized(picture, width, height) for picture in image])
    columns = [seen, target, own, _grey(drawn.mask), _grey(target_mask), *turned]
    return np.concatenate(columns, axis=2).reshape(-1, len(columns) * width, 3)


def turn_camera(camera: Camera, angle_rad: float | Float[Array, "*b"]) -> Camera:
    """The same camera carried round the object, about +Y through the origin; a positive angle goes from +Z to +X.

    Args:
      camera: leading axes ``*b``.
      angle_rad: how far.
    """
    # x_view = R Ry(-angle) x_world + t: to turn the camera is to turn the object the other way.
    angle = jnp.asarray(angle_rad, jnp.float32)
    cosine, sine, zero, one = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle), jnp.ones_like(angle)
    rows = [[cosine, zero, -sine], [zero, one, zero], [sine, zero, cosine]]
    about_y = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    rotation = jnp.einsum("...ij,...jk->...ik", camera.rotation, about_y, precision="highest")
    return dataclasses.replace(camera, rotation=rotation)


def _render_turned(
    prediction: Prediction, camera: Camera, size: tuple[int, int], config: ConfigDict
) -> tuple[Float[Array, "m h w 3"], Float[Array, "m h w"]]:
    """Colour and coverage of each mesh from its camera and the turned ones, ``m = 3 n``, mesh by mesh."""
    turns = len(_TURNS_RAD)

    def repeated(leaf):
        return jnp.repeat(leaf, turns, axis=0)

    angles = jnp.tile(jnp.asarray(_TURNS_RAD, jnp.float32), len(prediction.vertices))
    cameras = turn_camera(jax.tree.map(repeated, camera), angles)
    mesh = Mesh(repeated(prediction.vertices), prediction.faces)
    has_texture = prediction.texture is not None
    result = render(
        mesh,
        cameras,
        size,
        texture=jax.tree.map(repeated, prediction.lit_texture) if has_texture else clay(mesh, cameras),
        blending=config.render.blending if has_texture else "hard",
        background=tuple(config.data.background),
        sigma=config.render.sigma,
        gamma=config.render.gamma,
        falloff=config.render.falloff,
    )
    return result.rgb, result.alpha


def _to_bytes(values: Float[Array, "..."]) -> UInt8[Array, "..."]:
    """[0, 1] -> 0 to 255; black where a run has gone wrong and there are no numbers."""
    return jnp.round(jnp.clip(jnp.nan_to_num(values), 0, 1) * 255).astype(jnp.uint8)


def _grey(mask: UInt8[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    return np.repeat(mask[..., None], 3, axis=-1)


def _resized(picture: UInt8[np.ndarray, "i j 3"], width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
