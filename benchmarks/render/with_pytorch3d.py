"""The same scenes through PyTorch3D, where it is installed."""

from collections.abc import Callable

import numpy as np
import torch
from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings, TexturesUV
from pytorch3d.renderer.blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend
from pytorch3d.structures import Meshes

from benchmarks.render.cases import CUTOFF, SIGMA, Scene, wanted
from render import UVImage, to_pytorch3d

# Faces that PyTorch3D keeps for a pixel, as in its tutorials; the others it drops.
FACES_PER_PIXEL = 50


def silhouettes(scene: Scene) -> tuple[Callable, Callable]:
    """Functions without arguments: soft silhouettes as numpy, and loss with backward pass."""
    points, rasterizer = _points(scene), _rasterizer(scene, np.log(1.0 / CUTOFF - 1.0) * SIGMA, FACES_PER_PIXEL)
    goal = torch.tensor(np.asarray(wanted(scene))[..., 0])

    def alpha():
        fragments = rasterizer(_meshes(scene, points))
        colours = torch.zeros((*fragments.zbuf.shape, 3))
        return sigmoid_alpha_blend(colours, fragments, BlendParams(sigma=SIGMA))[..., 3]

    return _forward(alpha), _both(lambda: ((alpha() - goal) ** 2).mean(), points)


def hard_uv(scene: Scene, texture: UVImage) -> tuple[Callable, Callable]:
    """The colours of the nearest faces by a UV image, as in `silhouettes`; unlike our "hard" without coverage."""
    points, rasterizer, goal = _points(scene), _rasterizer(scene, 0.0, 1), torch.tensor(np.asarray(wanted(scene)))
    image = torch.tensor(np.asarray(texture.image), requires_grad=True)
    uv = torch.tensor(np.asarray(texture.uv)).reshape(len(scene.points), -1, 2)
    index = torch.arange(3 * len(scene.faces)).reshape(1, -1, 3).expand(len(scene.points), -1, -1)

    def rgb():
        textures = TexturesUV(image, index, uv, align_corners=False)
        meshes = _meshes(scene, points, textures)
        fragments = rasterizer(meshes)
        return hard_rgb_blend(meshes.sample_textures(fragments), fragments, BlendParams())[..., :3]

    return _forward(rgb), _both(lambda: ((rgb() - goal) ** 2).mean(), points, image)


def z_buffer(scene: Scene) -> Callable:
    """Hard rasterization: depths as numpy."""
    points, rasterizer = _points(scene), _rasterizer(scene, 0.0, 1)
    return _forward(lambda: rasterizer(_meshes(scene, points)).zbuf[..., 0])


def _points(scene: Scene) -> torch.Tensor:
    return torch.tensor(np.asarray(scene.points), requires_grad=True)


def _meshes(scene: Scene, points: torch.Tensor, textures: TexturesUV | None = None) -> Meshes:
    faces = torch.tensor(np.asarray(scene.faces), dtype=torch.int64)
    return Meshes(points, faces[None].expand(len(points), -1, -1), textures)


def _rasterizer(scene: Scene, blur_radius: float, faces_per_pixel: int) -> MeshRasterizer:
    numbers = [torch.tensor(np.asarray(x)) for x in to_pytorch3d(scene.camera, scene.image_size)]
    rotation, translation, focal, principal = numbers
    cameras = PerspectiveCameras(focal_length=focal, principal_point=principal, R=rotation, T=translation)
    settings = RasterizationSettings(scene.image_size, float(blur_radius), faces_per_pixel)
    return MeshRasterizer(cameras, settings)


def _forward(function: Callable) -> Callable:
    def call() -> np.ndarray:
        with torch.no_grad():
            return function().numpy()

    return call


def _both(loss: Callable, *leaves: torch.Tensor) -> Callable:
    return lambda: torch.autograd.grad(loss(), leaves)
