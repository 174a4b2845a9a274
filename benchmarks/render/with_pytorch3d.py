"""The same scenes through PyTorch3D, where it is installed; on the GPU where jax and PyTorch both have it."""

from collections.abc import Callable

import jax
import numpy as np
import torch
from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings, TexturesUV
from pytorch3d.renderer.blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend
from pytorch3d.structures import Meshes

from benchmarks.render.cases import CUTOFF, SIGMA, Scene, wanted
from render import UVImage, to_pytorch3d

# Faces that PyTorch3D keeps for a pixel, as in its tutorials; the others it drops.
FACES_PER_PIXEL = 50
DEVICE = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def silhouettes(scene: Scene) -> tuple[Callable, Callable]:
    """Functions without arguments: soft silhouettes, and loss with backward pass."""
    points, rasterizer = _points(scene), _rasterizer(scene, np.log(1.0 / CUTOFF - 1.0) * SIGMA, FACES_PER_PIXEL)
    goal, faces = _tensor(wanted(scene)[..., 0]), _faces(scene)

    def alpha():
        fragments = rasterizer(_meshes(points, faces))
        colours = torch.zeros((*fragments.zbuf.shape, 3), device=DEVICE)
        return sigmoid_alpha_blend(colours, fragments, BlendParams(sigma=SIGMA))[..., 3]

    return _forward(alpha), _both(lambda: ((alpha() - goal) ** 2).mean(), points)


def hard_uv(scene: Scene, texture: UVImage) -> tuple[Callable, Callable]:
    """The colours of the nearest faces by a UV image, as in `silhouettes`; unlike our "hard" without coverage."""
    points, rasterizer, goal = _points(scene), _rasterizer(scene, 0.0, 1), _tensor(wanted(scene))
    image, faces = _tensor(texture.image).requires_grad_(), _faces(scene)
    uv = _tensor(texture.uv).reshape(len(scene.points), -1, 2)
    index = torch.arange(3 * len(scene.faces), device=DEVICE).reshape(1, -1, 3).expand(len(scene.points), -1, -1)

    def rgb():
        textures = TexturesUV(image, index, uv, align_corners=False)
        meshes = _meshes(points, faces, textures)
        fragments = rasterizer(meshes)
        return hard_rgb_blend(meshes.sample_textures(fragments), fragments, BlendParams())[..., :3]

    return _forward(rgb), _both(lambda: ((rgb() - goal) ** 2).mean(), points, image)


def z_buffer(scene: Scene) -> Callable:
    """Hard rasterization: depths."""
    points, faces, rasterizer = _points(scene), _faces(scene), _rasterizer(scene, 0.0, 1)
    return _forward(lambda: rasterizer(_meshes(points, faces)).zbuf[..., 0])


def _points(scene: Scene) -> torch.Tensor:
    return _tensor(scene.points).requires_grad_()


def _faces(scene: Scene) -> torch.Tensor:
    return _tensor(scene.faces).long()


def _meshes(points: torch.Tensor, faces: torch.Tensor, textures: TexturesUV | None = None) -> Meshes:
    return Meshes(points, faces[None].expand(len(points), -1, -1), textures)


def _rasterizer(scene: Scene, blur_radius: float, faces_per_pixel: int) -> MeshRasterizer:
    numbers = [_tensor(x) for x in to_pytorch3d(scene.camera, scene.image_size)]
    rotation, translation, focal, principal = numbers
    cameras = PerspectiveCameras(
        focal_length=focal, principal_point=principal, R=rotation, T=translation, device=DEVICE
    )
    settings = RasterizationSettings(scene.image_size, float(blur_radius), faces_per_pixel)
    return MeshRasterizer(cameras, settings)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A picture for comparisons."""
    return tensor.cpu().numpy()


def _tensor(values) -> torch.Tensor:
    return torch.tensor(np.asarray(values), device=DEVICE)


def _forward(function: Callable) -> Callable:
    def call() -> torch.Tensor:
        with torch.no_grad():
            return _waited_for(function())

    return call


def _both(loss: Callable, *leaves: torch.Tensor) -> Callable:
    return lambda: _waited_for(torch.autograd.grad(loss(), leaves))


def _waited_for(results):
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return results
