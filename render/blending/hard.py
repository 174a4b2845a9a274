"""Hard colours with a soft silhouette: the nearest face's colour, and the soft coverage of all faces.

Colours get gradients through the texture, the light and the barycentrics, the silhouette through the coverage.
Source: Chen et al., Learning to Predict 3D Objects with an Interpolation-based Differentiable Renderer (DIB-R),
NeurIPS 2019.
"""

import jax
from jaxtyping import Float, Int

from render.arrays import Array
from render.coverage import coverage_of_screen
from render.scene import Scene, Softness, paint


def blend(
    scene: Scene, softness: Softness, face_id: Int[Array, "b h w"]
) -> tuple[Float[Array, "b h w 3"], Float[jax.Array, "b h w"]]:
    """Colours and coverage, see the top.

    Args:
        scene: the batch.
        softness: how soft.
        face_id: nearest faces.

    Returns:
        rgb and alpha.
    """
    sigma, cutoff, falloff = softness.sigma, softness.cutoff, softness.falloff
    alpha = coverage_of_screen(scene.screen, scene.image_size, scene.batch, sigma, cutoff, falloff)
    return paint(scene, face_id), alpha
