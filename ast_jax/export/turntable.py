"""Pictures of a mesh for people: antialiased views, turntables, GIF."""

import io
import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from ast_jax.arrays import Array
from ast_jax.compile_options import quick_jit
from ast_jax.files.writing import write_bytes
from render import Camera, FaceTexels, Mesh, clay, orbit, render
from render.camera import NMR_DISTANCE
from render.texture import Texture

Colour = tuple[float, float, float]

# With the distance, the cameras of the NMR renderings of ShapeNet, which the data sets here use, too.
ELEVATION_RAD = math.radians(30.0)
FOV_Y_RAD = math.radians(30.0)
# Softness of the outline in squared NDC: far below one pixel even at 2048 px, so that edges are sharp before
# the pixels are averaged.
_SHARP = 1e-8


def draw_views(
    vertices: Float[Array, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    cameras: Camera,
    *,
    texture: Texture | None = None,
    colour: Colour | None = None,
    image_size: tuple[int, int] = (256, 256),
    background: Colour = (1.0, 1.0, 1.0),
    supersample: int = 2,
) -> UInt8[np.ndarray, "n h w 3"]:
    """One antialiased picture per camera.

    Args:
      vertices: world space.
      faces: counter-clockwise from outside.
      cameras: leading axis ``n``.
      texture: colours in [0, 1], leading axis 1, drawn unlit. Without one the mesh is grey clay lit from the camera.
      colour: RGB in [0, 1] of an unlit, flat silhouette instead.
      image_size: height and width, px.
      background: RGB in [0, 1].
      supersample: each pixel is the mean of this many squared samples, >= 1.

    Returns:
      pictures, row 0 at the top.

    Raises:
      ValueError: texture and colour are both given.
    """
    if texture is not None and colour is not None:
        raise ValueError("texture and colour: give one of them, not both.")
    vertices = jnp.asarray(vertices, jnp.float32)[None]
    if colour is not None:
        texture = FaceTexels(jnp.broadcast_to(jnp.asarray(colour), (1, len(faces), 1, 1, 3)))
    texture = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), texture)
    mesh = Mesh(vertices, np.asarray(faces, np.int32))
    frames = []
    for index in range(cameras.translation.shape[0]):
        camera = jax.tree.map(lambda leaf: jnp.asarray(leaf)[index : index + 1], cameras)  # noqa: B023
        frame = _draw(mesh, camera, texture, image_size, supersample, background)
        frames.append(np.asarray(frame))
    return np.stack(frames)


@partial(quick_jit, static_argnums=(3, 4, 5))
def _draw(mesh, camera, texture, image_size, supersample, background) -> jax.Array:
    height, width = image_size
    large = (height * supersample, width * supersample)
    texture = clay(mesh, camera) if texture is None else texture
    drawn = render(mesh, camera, large, blending="hard", texture=texture, background=background, sigma=_SHARP).rgb[0]
    mean = drawn.reshape(height, supersample, width, supersample, 3).mean((1, 3))
    return jnp.round(jnp.clip(mean, 0, 1) * 255).astype(jnp.uint8)


def render_turntable(
    vertices: Float[Array, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    texture: Texture | None = None,
    *,
    num_frames: int = 36,
    image_size: tuple[int, int] = (256, 256),
    elevation_rad: float = ELEVATION_RAD,
) -> UInt8[np.ndarray, "n h w 3"]:
    """The object on a turntable: a full turn of the camera about +Y that starts in front (+Z).

    Args:
      vertices: world space, about the origin.
      faces: counter-clockwise from outside.
      texture: colours in [0, 1], leading axis 1, or None for grey clay.
      num_frames: pictures of the turn, >= 1.
      image_size: height and width, px.
      elevation_rad: of the camera above the xz plane.

    Returns:
      frames, row 0 at the top.
    """
    azimuth = np.arange(num_frames) * (2 * np.pi / num_frames)
    aspect = image_size[1] / image_size[0]
    cameras = orbit(NMR_DISTANCE, elevation_rad, azimuth, FOV_Y_RAD, aspect=aspect)
    return draw_views(vertices, faces, cameras, texture=texture, image_size=image_size)


def encode_gif(frames: UInt8[np.ndarray, "n h w 3"], seconds: float = 3.0) -> bytes:
    """An endless animated GIF as bytes; every frame has its own 256 colours.

    Args:
      frames: row 0 at the top.
      seconds: of one round; GIF rounds the time of a frame to 1/100 s.
    """
    paletted = [Image.fromarray(frame).quantize(256, method=Image.Quantize.MEDIANCUT) for frame in frames]
    duration_ms = max(20, round(100 * seconds / len(frames)) * 10)  # browsers slow down anything below 20 ms
    buffer = io.BytesIO()
    first, *others = paletted
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=duration_ms, loop=0)
    return buffer.getvalue()


def write_gif(path: str | Path, frames: UInt8[np.ndarray, "n h w 3"], seconds: float = 3.0) -> None:
    """Write an endless animated GIF. Arguments as in :func:`encode_gif`."""
    write_bytes(path, encode_gif(frames, seconds))
