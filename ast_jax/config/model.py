"""The keys of ``config.model``: the network."""

from dataclasses import dataclass

from ast_jax.config.key import group, key

_SYMMETRIC = "mirror symmetry about x = 0; only half of the queries are needed"
_CONDITION = "the summary is added to every query"


@dataclass(frozen=True)
class EncoderConfig:
    """From the picture to tokens and a summary."""

    name: str = key("convnet", "the backbone")
    width: int = key(32, "channels of the first stage of convnet or unet", at_least=1)
    blocks: int = key(
        1, "residual blocks in each stage of convnet, or of unet's network for the summary", at_least=0, at_most=100
    )
    token_levels: tuple[int, ...] = key(
        (-3, -2, -1), "the maps that become tokens for the Shape Transformer, 0: finest, -1: coarsest"
    )
    input_size: int = key(0, "sides to which pictures are resized, px, 128 for pretrained weights; 0: kept", at_least=0)
    weights: str = key("none", "`none`, a local .pth file, or `package` (efficientnet_lite0, installed by pip)")
    pool: str = key(
        "grid", "summary from the mean of all cells, or from a 4 x 4 grid of them", choices=("mean", "grid")
    )


@dataclass(frozen=True)
class ShapeConfig:
    """From tokens and summary to the vertices."""

    kind: str = key(
        "transformer",
        "the Shape Transformer; an MLP on the summary (the baseline of CMR and DIB-R); or a field, which displaces "
        "each vertex by its place and a code of the picture (Unicorn)",
    )
    level: int = key(3, "icosphere level of the mesh", at_least=0, at_most=5)
    query_level: int = key(2, "icosphere level whose vertices are queries", at_least=0, at_most=5)
    radius: float = key(0.35, "radius of the template sphere, world units", above=0)
    axes: tuple[float, float, float] = key(
        (1.0, 1.0, 1.0), "half axes of the template over its radius, x, y, z: other than 1 make it an ellipsoid"
    )
    scale_range: float = key(
        0.0, "s: each picture also stretches its shape along x, y, z, by 1 - s to 1 + s; 0: none", at_least=0, below=1
    )
    code_size: int = key(32, "of a field: numbers of the code, of which a stage may let some be live", at_least=1)
    field_units: int = key(128, "hidden size of a field", at_least=1)
    layers: int = key(2, "decoder layers", at_least=1, at_most=100)
    symmetric: bool = key(True, _SYMMETRIC)
    mean_shape: bool = key(True, "a learned displacement shared by all pictures")
    coarse: bool = key(True, "an MLP on the summary displaces the vertices, too")
    head: str = key(
        "per_query",
        "a linear map for each query; one MLP for all of them; or a field, which displaces each query by its place and "
        "a code of its own, and the coarse step is then one, too (released AST)",
    )
    condition_on_global: bool = key(True, _CONDITION)
    self_attention: bool = key(True, "queries attend to each other")
    deep_supervision: bool = key(True, "every decoder layer has a head, and its vertices are returned")
    synthesis: str = key(
        "none", "steps of analysis by synthesis after that: none, unlearned ones (fit), or learned ones"
    )
    synthesis_steps: int = key(4, "how many of these steps", at_least=1)
    synthesis_camera: bool = key(True, "learned steps also move the camera of the picture, if it is regressed")
    synthesis_level: int = key(2, "the encoder's map that learned steps read, 0: finest")
    synthesis_size: int = key(32, "sides of the silhouettes that these steps draw, px", at_least=1)


@dataclass(frozen=True)
class TextureConfig:
    """From the picture to the colours of the faces."""

    kind: str = key(
        "transformer",
        "the Texture Transformer; an MLP on the summary; the paper's projection of the picture; CMR's flow, a place in "
        "the picture for each texel; a map that convolutions decode, from the summary or, `map_transformer`, from "
        "queries (released AST); or DIB-R's colours of vertices",
    )
    query_level: int = key(
        3, "icosphere level whose faces are queries; shape.level: one for each face", at_least=0, at_most=5
    )
    layers: int = key(1, "decoder layers", at_least=0, at_most=100)
    texels: int = key(4, "t: each face has t x t texels", at_least=1)
    symmetric: bool = key(True, _SYMMETRIC)
    condition_on_global: bool = key(True, _CONDITION)
    map_level: int = key(1, "the encoder's map that queries read, 0: finest")
    code_size: int = key(
        0,
        "colours are decoded from a code of so many numbers, of which a stage may let some be live; 0: no code",
        at_least=0,
    )
    map_size: int = key(
        128,
        "rows of the map that is decoded, px: for `flow` and `map` 4 times a power of two, for `map_transformer` even",
        at_least=4,
    )


@dataclass(frozen=True)
class CameraConfig:
    """Where the picture was taken from."""

    kind: str = key(
        "given",
        "cameras of the data set; candidates that the network weighs (AST, Unicorn); or a multiplex: many cameras for "
        "each training picture, moved with the shape, and one that is regressed for any picture (U-CMR)",
    )
    num_candidates: int = key(6, "candidate cameras k, evenly round the object", at_least=1)
    candidate_elevations_deg: tuple[float, float] = key(
        (-10.0, 30.0), "lowest and highest elevation of candidates; they begin half-way"
    )
    candidate_roll_deg: float = key(60.0, "range of their rolls, about 0", at_least=0, at_most=360)
    candidate_shift: tuple[float, float, float] = key(
        (0.3, 0.3, 0.3), "how far they may be off the middle, x, y, and depth, world units"
    )
    predict: bool = key(True, "with given cameras: also regress that of the picture")
    azimuths: int = key(8, "azimuths from which the cameras of a multiplex begin, evenly round the object", at_least=1)
    elevations: int = key(5, "elevations from which they begin, evenly from -60 to 60 deg; 1: 0 deg", at_least=1)


@dataclass(frozen=True)
class BackgroundConfig:
    """From the picture to what lies behind the object."""

    kind: str = key(
        "none",
        "`picture`: convolutions decode it from a code of the picture, and renderings stand in front of it",
        choices=("none", "picture"),
    )
    code_size: int = key(128, "numbers of the code, of which a stage may let some be live", at_least=1)
    size: int = key(64, "sides of that picture, px: 4 times a power of two", at_least=4)


@dataclass(frozen=True)
class ModelConfig:
    """The whole network, `ast_jax.model.Model`."""

    dim: int = key(128, "embedding size d", at_least=1)
    heads: int = key(4, "attention heads", at_least=1)
    mlp_ratio: int = key(2, "hidden size of the MLPs over d", at_least=1)
    norm_order: str = key(
        "pre",
        "normalise before each part of a decoder layer, or after it (`post`: DETR, released AST)",
        choices=("pre", "post"),
    )
    num_keypoints: int = key(0, "key points p, as many as the data set has; 0: none are predicted", at_least=0)
    light: str = key(
        "none",
        "`harmonics`: spherical harmonics of the light are predicted, too, and the texture is without shading (DIB-R)",
        choices=("none", "harmonics"),
    )
    saliency: bool = key(False, "a head on the encoder's finest map tells where in the picture the object is")
    encoder: EncoderConfig = group(EncoderConfig)
    shape: ShapeConfig = group(ShapeConfig)
    texture: TextureConfig = group(TextureConfig)
    camera: CameraConfig = group(CameraConfig)
    background: BackgroundConfig = group(BackgroundConfig)
