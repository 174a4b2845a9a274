"""The Texture Transformer: one query per face, or group of faces, that asks the picture for its colours."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import logit
from jaxtyping import Float

from ast_jax.arrays import Array
from ast_jax.model.axes import named
from ast_jax.model.encoder import Encoding, map_index
from ast_jax.model.gather import ColourGather, PictureReader
from ast_jax.model.layers import NUM_FREQUENCIES, Mlp, QueryEmbedding, Sizes, fourier, linear
from ast_jax.model.projection import View, look
from ast_jax.model.textures.layout import TextureLayout, TextureOutput
from render import FaceTexels, PerspectiveCamera

_DARKEST = 0.02  # colours of the picture are kept this far from 0 and 1, where the logit has no bound
# Weights of colours at first: where a face is seen its own place counts 1, where it is not this much; elsewhere that.
_UNSEEN, _ELSEWHERE = 1e-3, 0.05
# Place and depth, normal, and how well it is seen: of a face, and of its mirror image.
_NUM_OBSERVED = 2 * (3 + 6 * NUM_FREQUENCIES + 3 + 1)
# Queries say first what its own place, its mirror image's and elsewhere weigh.
_NUM_WEIGHTS = 3


class TextureLayer(nnx.Module):
    """Queries read the picture where their face is and where its mirror image is, and make something of it.

    Args:
      channels: of the map that is read.
      dim, mlp_ratio: see `ast_jax.model.layers.Sizes`.
    """

    def __init__(self, channels: int, dim: int, mlp_ratio: int, *, rngs: nnx.Rngs):
        self.norm, self.mlp_norm = (nnx.LayerNorm(dim, rngs=rngs) for _ in range(2))
        self.own, self.mirrored = (PictureReader(channels, dim, rngs=rngs) for _ in range(2))
        self.mlp = Mlp((dim, mlp_ratio * dim, dim), rngs=rngs)

    def __call__(self, queries, features, own_places, mirrored_places):
        normed = self.norm(queries)
        read = self.own(normed, features, own_places) + self.mirrored(normed, features, mirrored_places)
        queries = queries + read
        return queries + self.mlp(self.mlp_norm(queries))


class TextureTransformer(nnx.Module):
    """sigmoid(logit(colour of the picture) + mean texture + head(queries)), t x t texels per face.

    The colour of a texel is a weighted mean of three: the picture where the texel is, the picture where its mirror
    image is, and one that its query gathers from all of the picture (`ColourGather`). Queries weigh them; at first by
    what the camera sees of the two places.

    With ``query_level`` below the mesh's level, each query decodes all faces inside its coarse face.

    Args:
      config, layout, sizes: see `ast_jax.model.textures.make_texture`.
    """

    reads_camera = True

    # AST-DIFF: texels per face, as the paper describes, instead of the released code's 32 x 32 UV queries and
    # convolutional decoder: no seam, and every texel has an owner. Queries know where their face is in the picture;
    # those of the paper, which do not, attend to all tokens alike and learn nothing from them.
    def __init__(self, config, layout: TextureLayout, sizes: Sizes, *, rngs: nnx.Rngs):
        self.layout = layout
        dim, mlp_ratio, channels = sizes.dim, sizes.mlp_ratio, sizes.channels
        self.map_level = map_index(config.map_level, len(channels), "texture.map_level")
        read, count = channels[self.map_level], len(layout.members)
        self.mean = nnx.Param(
            nnx.initializers.zeros(rngs.params(), (count, layout.outputs)), **named("queries", "output")
        )
        self.embedding = QueryEmbedding(layout.centres, dim, condition_on_global=config.condition_on_global, rngs=rngs)
        self.observe = linear(_NUM_OBSERVED, dim, use_bias=False, rngs=rngs)
        self.layers = nnx.List([TextureLayer(read, dim, mlp_ratio, rngs=rngs) for _ in range(config.layers)])
        self.gather = ColourGather(read, dim, rngs=rngs)
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.head = Mlp((dim, dim, _NUM_WEIGHTS + layout.outputs), zero_last=True, last_bias=False, rngs=rngs)

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        encoding: Encoding,
        vertices: Float[Array, "b v 3"],
        camera: PerspectiveCamera,
        *,
        return_attention: bool = False,
    ) -> TextureOutput:
        """Predict the texels.

        Args:
          image: RGB in [0, 1], whose colours are taken; a fourth channel is the coverage of the object.
          encoding: what the encoder made of it.
          vertices: the predicted shape; only read, no gradient flows back into it.
          camera: the predicted one of the picture, likewise only read.
          return_attention: also give the attention of the gathering.
        """
        level, faces = self.layout.levels[1], self.layout.faces.reshape(-1)
        view = look(image, vertices, camera, level, self.layout.texels)
        views = view.of_faces(faces), view.of_mirrored(level).of_faces(faces)
        features = encoding.features[self.map_level]
        queries = self.embedding(encoding.summary) + self.observe(jnp.concatenate(list(map(self._observed, views)), -1))
        places = [self._per_query(seen.places)[..., :2] for seen in views]
        for layer in self.layers:
            queries = layer(queries, features, *places)
        values = self.head(self.norm(queries))
        gathered, attention = self.gather(queries, features, image, places[0])
        colours = self._mixed(views, gathered, values[..., :_NUM_WEIGHTS])
        details = self.layout.texels_of(self.mean[...][None] + values[..., _NUM_WEIGHTS:])
        texels = jax.nn.sigmoid(logit(jnp.clip(colours, _DARKEST, 1 - _DARKEST)) + details)
        return TextureOutput(FaceTexels(self.layout.whole(texels)), (attention,) if return_attention else None)

    def _per_query(self, values):
        """The mean over the faces of each query."""
        return values.reshape(len(values), *self.layout.faces.shape, -1).mean(2)

    def _observed(self, seen: View):
        places = self._per_query(seen.places) * np.array([1, 1, 2], np.float32)[None, None]
        parts = fourier(places, NUM_FREQUENCIES), self._per_query(seen.normals), self._per_query(seen.seen)
        return jnp.concatenate(parts, axis=-1)

    def _mixed(self, views, gathered, weights):
        """`[b, m, t, t, 3]`: own place, mirrored place and gathered colour, weighted."""
        own, mirrored = views
        each = self.layout.faces.shape[1]
        weights, gathered = (jnp.repeat(part, each, axis=1)[:, :, None, None] for part in (weights, gathered))
        trust = [own.trust + _UNSEEN, mirrored.trust + _UNSEEN, jnp.full_like(own.trust, _ELSEWHERE)]
        share = jax.nn.softmax(weights + jnp.log(jnp.stack(trust, axis=-1)), axis=-1)
        return share[..., :1] * own.colours + share[..., 1:2] * mirrored.colours + share[..., 2:] * gathered
