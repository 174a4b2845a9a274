"""From the picture to the colours of the mesh, one way in each file; a new one gets a line in ``TEXTURES``.

A line names a module, ``Mine(config, layout, sizes, *, rngs)``, of the arguments of `make_texture`, that is called as
`ast_jax.model.textures.transformer.TextureTransformer` is; any texture of ``render`` may be its answer.
"""

from collections.abc import Callable

from flax import nnx

from ast_jax.model.layers import Sizes
from ast_jax.model.template import check_levels
from ast_jax.model.textures.coded import CodedTexture
from ast_jax.model.textures.flow import FlowTexture
from ast_jax.model.textures.layout import TextureBranch, TextureLayout
from ast_jax.model.textures.map import MapTexture
from ast_jax.model.textures.map_transformer import MapTransformerTexture
from ast_jax.model.textures.mlp import MlpTexture
from ast_jax.model.textures.projection import ProjectedTexture
from ast_jax.model.textures.transformer import TextureTransformer
from ast_jax.model.textures.vertex_colour import VertexColourTexture
from ast_jax.near_match import choose

TEXTURES: dict[str, Callable[..., TextureBranch] | None] = {
    "none": None,
    "transformer": TextureTransformer,
    "mlp": MlpTexture,
    "projection": ProjectedTexture,
    "flow": FlowTexture,
    "map": MapTexture,
    "map_transformer": MapTransformerTexture,
    "vertex_colour": VertexColourTexture,
}
# Textures with a code, which are told how much of it is live.
CODED = (CodedTexture, MapTransformerTexture)
NEEDS = "looks for faces where the camera of the picture shows them: set config.model.camera.predict=True"


def make_texture(config, level: int, sizes: Sizes, *, knows_camera: bool, rngs: nnx.Rngs) -> TextureBranch | None:
    """The texture branch of that kind: ``branch(image, encoding, vertices, camera) -> TextureOutput``.

    Args:
      config: ``config.model.texture``; see `ast_jax.config.model.TextureConfig`.
      level: icosphere level of the mesh.
      sizes: of the network.
      knows_camera: whether the model predicts the camera of the picture.

    Raises:
      ValueError: an unknown kind, numbers out of range, or no camera for a kind that looks for faces in the picture.
    """
    make = TEXTURES[choose("config.model.texture.kind", config.kind, TEXTURES)]
    if make is None:
        return None
    check_levels(config.query_level, level, "texture")
    if config.texels < 1:
        raise ValueError(f"texture.texels={config.texels}: a face needs at least one")
    layout = TextureLayout((config.query_level, level), config.texels, config.symmetric)
    branch = make(config, layout, sizes, rngs=rngs)
    if branch.reads_camera and not knows_camera:
        raise ValueError(f"config.model.texture.kind={config.kind} {NEEDS}, or the kind to mlp.")
    if not config.code_size:
        return branch
    if branch.reads_camera or isinstance(branch, MapTransformerTexture):
        raise ValueError(
            f"config.model.texture.code_size={config.code_size}: the kind {config.kind} looks at the picture itself; "
            "set the kind to map, flow, mlp or vertex_colour, or the size to 0."
        )
    return CodedTexture(branch, config.code_size, sizes, rngs=rngs)
