"""The Texture Transformer: one query per face, or group of faces, that asks the picture for its colours."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import logit
from jaxtyping import Float

from ast_jax.model.axes import constrain, named
from ast_jax.model.decoder import QueryDecoder
from ast_jax.model.encoder import Encoding, map_index
from ast_jax.model.gather import ColourGather
from ast_jax.model.layers import NUM_FREQUENCIES, Array, Mlp, QueryEmbedding, fourier, linear
from ast_jax.model.template import check_levels, child_faces, face_half, sphere
from ast_jax.near_match import choose

KINDS = ("none", "transformer", "mlp")
# Pictures are cropped to the object with this margin about its longer side, see ast_jax/data/crop.py.
_CROP_MARGIN = 0.1
_DARKEST = 0.02  # gathered colours are kept this far from 0 and 1, where the logit has no bound


class TextureOutput(NamedTuple):
    """Texels in [0, 1], and per decoder layer the attention [b, n, q, l] if asked for."""

    texels: Float[Array, "b f t t 3"]
    attention: tuple[Float[Array, "b n q l"], ...] | None


def mirror_texels(logits: Float[Array, "b m t t 3"], query_level: int, level: int) -> Float[Array, "b f t t 3"]:
    """All faces of a symmetric texture from those of the half x >= 0.

    A mirrored face exchanges its second and third corner, hence the two texel axes. Faces whose query lies
    astride the plane are predicted on both sides of it; they become the mean of both.

    Args:
      logits: of the faces of the half, query after query.
      query_level, level: of the queries and of the mesh.
    """
    half = face_half(query_level, level)
    both = jnp.concatenate([logits, logits.swapaxes(2, 3)], axis=1)
    count = logits.shape[1]
    direct = both[:, half.direct + count * half.direct_flipped]
    mirrored = both[:, half.mirrored + count * half.mirrored_flipped]
    return (direct + mirrored) / 2


class TextureBranch(nnx.Module):
    """sigmoid(logit(gathered colour) + mean texture + head(queries)), t x t texels per face.

    Each query gathers one colour from the picture (``ColourGather``), and its head says how the texels differ
    from it; without ``gather`` the texture starts grey.

    With ``query_level`` below the mesh's level, each query decodes all faces inside its coarse face: 320
    queries instead of 1,280 at level 3, so that self-attention costs a sixteenth.

    Args:
      config: ``config.model.texture``; see ``ast_jax.model.model``.
      level: icosphere level of the mesh.
      dim, heads, mlp_ratio: of the decoder.
      channels: of the encoder's maps, finest first.
      knows_camera: whether the model predicts the camera of the picture, which ``condition_on_view`` needs.
    """

    # AST-DIFF: texels per face, as the paper describes, instead of the released code's 32 x 32 UV queries and
    # convolutional decoder: no seam, and every texel has an owner.
    def __init__(
        self,
        config,
        level: int,
        dim: int,
        heads: int,
        mlp_ratio: int,
        *,
        channels: tuple[int, ...],
        knows_camera: bool,
        rngs: nnx.Rngs,
    ):
        is_transformer = choose("config.model.texture.kind", config.kind, KINDS[1:]) == "transformer"
        check_levels(config.query_level, level, "texture")
        if config.texels < 1:
            raise ValueError(f"texture.texels={config.texels}: a face needs at least one")
        self.levels, self.texels, self.symmetric = (
            (config.query_level, level),
            config.texels,
            config.symmetric,
        )
        self.condition_on_shape = config.condition_on_shape and is_transformer
        coarse = sphere(config.query_level)
        centres = coarse.vertices[coarse.faces[self._members()]].mean(axis=1)
        q, outputs = len(centres), 4 ** (level - config.query_level) * config.texels**2 * 3
        self.mean = nnx.Param(nnx.initializers.zeros(rngs.params(), (q, outputs)), **named("queries", "output"))
        if not is_transformer:
            self.embedding = self.decoder = self.gather = None
            hidden = mlp_ratio * dim
            self.head = Mlp((dim, hidden, hidden, q * outputs), zero_last=True, last_bias=False, rngs=rngs)
            return
        self.embedding = QueryEmbedding(centres, dim, condition_on_global=config.condition_on_global, rngs=rngs)
        if self.condition_on_shape:
            self.shape_embedding = linear(3 + 6 * NUM_FREQUENCIES, dim, use_bias=False, rngs=rngs)
        self.condition_on_view = config.condition_on_view and knows_camera
        if self.condition_on_view:
            self.view_embedding = linear(3 + 6 * NUM_FREQUENCIES, dim, use_bias=False, rngs=rngs)
        self.decoder = QueryDecoder(
            dim, heads, config.layers, mlp_ratio, self_attention=config.self_attention, rngs=rngs
        )
        self.gather_level = map_index(config.gather_level, len(channels), "texture.gather_level")
        options = dict(has_places=self.condition_on_view, rngs=rngs)
        self.gather = ColourGather(channels[self.gather_level], dim, **options) if config.gather else None
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.head = Mlp((dim, dim, outputs), zero_last=True, last_bias=False, rngs=rngs)

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        encoding: Encoding,
        vertices: Float[Array, "b v 3"],
        rotation: Float[Array, "b 3 3"] | None = None,
        *,
        return_attention: bool = False,
    ) -> TextureOutput:
        """Predict the texels.

        Args:
          image: RGB in [0, 1], whose colours are gathered.
          encoding: what the encoder made of it.
          vertices: the predicted shape; only read, no gradient flows back into it.
          rotation: the predicted one of the picture's view, world to view, likewise only read; None if unknown.
          return_attention: also give the attention of every decoder layer, and of the gathering last.
        """
        b, attention, base = len(image), None, 0.0
        if self.decoder is None:
            values = self.head(encoding.summary)
        else:
            queries = self.embedding(encoding.summary)
            places = None
            if self.condition_on_shape:
                queries = queries + self.shape_embedding(fourier(2 * self._face_centres(vertices), NUM_FREQUENCIES))
            if self.condition_on_view:
                places, depth = self._places(vertices, rotation)
                view = jnp.concatenate([places, 2 * depth], axis=-1)
                queries = queries + self.view_embedding(fourier(view, NUM_FREQUENCIES))
            outputs, attention = self.decoder(queries, encoding.tokens, return_weights=return_attention)
            values = self.head(self.norm(outputs[-1]))
            if self.gather is not None:
                colours, weights = self.gather(outputs[-1], encoding.features[self.gather_level], image, places)
                base = logit(jnp.clip(colours, _DARKEST, 1 - _DARKEST))[:, :, None]
                attention = (*attention, weights) if return_attention else None
        logits = base + (self.mean[...][None] + values.reshape(b, *self.mean.shape)).reshape(b, len(self.mean), -1, 3)
        logits = logits.reshape(b, -1, self.texels, self.texels, 3)
        if self.symmetric:
            logits = mirror_texels(logits, *self.levels)
        texels = constrain(jax.nn.sigmoid(logits), "batch", "faces", "texels", "texels", "channels")
        return TextureOutput(texels, attention)

    def _members(self) -> np.ndarray:
        """The coarse faces that have a query."""
        if self.symmetric:
            return face_half(*self.levels).members
        return np.arange(len(child_faces(*self.levels)))

    def _face_centres(self, points):
        corners = sphere(self.levels[0]).faces[self._members()]
        return jax.lax.stop_gradient(points)[:, corners].mean(axis=2)

    def _places(self, vertices, rotation):
        """Where each query's face is in the picture, which is cropped to the object, and its depth.

        Seen without perspective, which moves places by a few hundredths of the picture.
        """
        points_view = jnp.einsum("bij,bvj->bvi", jax.lax.stop_gradient(rotation), jax.lax.stop_gradient(vertices))
        low, high = points_view[..., :2].min(1), points_view[..., :2].max(1)
        side = (1 + 2 * _CROP_MARGIN) * (high - low).max(-1)[:, None, None]
        centres_view = self._face_centres(points_view)
        return 2 * (centres_view[..., :2] - (low + high)[:, None] / 2) / side, centres_view[..., 2:]
