"""Which faces ask for their colours, and what every texture branch answers."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import constrain
from ast_jax.model.template import child_faces, face_half, sphere
from render.texture import Texture, texel_points


class TextureOutput(NamedTuple):
    """Colours in [0, 1], the attention [b, n, q, l] of the gathering if asked for, for a branch that copies colours the
    places [b, n, 2] in the picture, NDC, that they come from, and the code that they are decoded from, if they are."""

    texture: Texture
    attention: tuple[Float[Array, "b n q l"], ...] | None
    flow: Float[Array, "b n 2"] | None = None
    code: Float[Array, "b n"] | None = None


def mirror_texels(values: Float[Array, "b m t t c"], query_level: int, level: int) -> Float[Array, "b f t t c"]:
    """All faces of a symmetric texture from those of the half x >= 0.

    A mirrored face exchanges its second and third corner, hence the two texel axes. Faces whose query lies
    astride the plane are predicted on both sides of it; they become the mean of both.

    Args:
      values: of the faces of the half, query after query.
      query_level, level: of the queries and of the mesh.
    """
    half = face_half(query_level, level)
    both = jnp.concatenate([values, values.swapaxes(2, 3)], axis=1)
    count = values.shape[1]
    direct = both[:, half.direct + count * half.direct_flipped]
    mirrored = both[:, half.mirrored + count * half.mirrored_flipped]
    return (direct + mirrored) / 2


class TextureLayout(NamedTuple):
    """Which faces have a query, and what becomes of their texels.

    Args:
      levels: of the queries and of the mesh.
      texels: t along a face.
      symmetric: whether only the half x >= 0 has queries.
    """

    levels: tuple[int, int]
    texels: int
    symmetric: bool

    @property
    def members(self) -> np.ndarray:
        """The coarse faces that have a query."""
        every = np.arange(len(child_faces(*self.levels)))
        return face_half(*self.levels).members if self.symmetric else every

    @property
    def faces(self) -> np.ndarray:
        """`[q, c]` faces of the mesh inside of each."""
        return child_faces(*self.levels)[self.members]

    @property
    def centres(self) -> np.ndarray:
        """`[q, 3]` of the coarse faces, on the template."""
        coarse = sphere(self.levels[0])
        return coarse.vertices[coarse.faces[self.members]].mean(axis=1)

    @property
    def points(self) -> np.ndarray:
        """`[m, t * t, 3]`, where the texels of the faces that have a query lie on the template, face after face."""
        ball = sphere(self.levels[1])
        corners = ball.vertices[ball.faces[self.faces.reshape(-1)]]
        return np.einsum("kc,fcx->fkx", texel_points(self.texels), corners)

    @property
    def outputs(self) -> int:
        """Numbers that a query answers."""
        return self.faces.shape[1] * self.texels**2 * 3

    def texels_of(self, values: Float[Array, "b q n"]) -> Float[Array, "b m t t 3"]:
        """The answers of the queries, face after face."""
        return values.reshape(len(values), -1, self.texels, self.texels, 3)

    def whole(self, values: Float[Array, "b m t t 3"]) -> Float[Array, "b f t t 3"]:
        """The texels of the whole mesh."""
        values = mirror_texels(values, *self.levels) if self.symmetric else values
        return constrain(values, "batch", "faces", "texels", "texels", "channels")


@runtime_checkable
class TextureBranch(Protocol):
    """A module that paints the predicted shape; ``reads_camera``: it has to know the camera of the picture."""

    reads_camera: bool

    def __call__(self, image, encoding, vertices, camera, *, return_attention: bool = False) -> TextureOutput: ...
