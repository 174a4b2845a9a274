"""The Shape Transformer: a sphere whose vertices ask the picture where they should go."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float

from ast_jax.arrays import Array
from ast_jax.model.axes import constrain, named
from ast_jax.model.codes import ALL_LIVE, LiveCodes
from ast_jax.model.decoders import DECODERS
from ast_jax.model.encoder import Encoding, map_index
from ast_jax.model.field import ProgressiveField
from ast_jax.model.layers import Mlp, QueryEmbedding, Sizes
from ast_jax.model.starts import WrongStarts
from ast_jax.model.synthesis import KINDS as SYNTHESES
from ast_jax.model.synthesis import Evidence, ShapeSynthesis
from ast_jax.model.template import check_levels, interpolation_matrix, sphere, template_vertices, vertex_half
from ast_jax.near_match import choose
from render import PerspectiveCamera

# Displacements are this times what the heads say. One Adam step moves every weight by the learning rate, hence the
# output of a linear map over d normalised features by up to d times as much: with d = 128 and 1e-3 an eighth of the
# object's size, and the silhouettes never settle. Chosen from training runs: with 1, the IoU loss on aircraft stays
# at its noise floor until the learning rate has decayed.
_STEP_SCALE = 0.1

_VERTEX_AXES = ("batch", "vertices", "coordinates")

HEADS = ("shared", "per_query", "field")


@dataclass(frozen=True, eq=False)
class QueryLayout:
    """Which template vertices are queries, and how their displacements move the whole mesh.

    Args:
      positions: of the queries, on the unit sphere.
      matrix: [v', q', 3], per coordinate the weights that carry query displacements to the predicted
        vertices.
      source, sign: for every vertex of the mesh the predicted vertex that it copies, and the factor of each
        coordinate.
    """

    positions: Float[np.ndarray, "q 3"]
    matrix: Float[np.ndarray, "m q 3"]
    source: np.ndarray
    sign: Float[np.ndarray, "v 3"]


@functools.cache
def query_layout(query_level: int, level: int, symmetric: bool) -> QueryLayout:
    """Queries on the vertices of a coarse icosphere level; on its half x >= 0 if symmetric."""
    coarse, weights = sphere(query_level).vertices, interpolation_matrix(query_level, level)
    if not symmetric:
        matrix = np.repeat(weights[..., None], 3, axis=2).astype(np.float32)
        return QueryLayout(coarse, matrix, np.arange(len(weights)), np.ones((len(weights), 3), np.float32))
    query_half, mesh_half = vertex_half(query_level), vertex_half(level)
    # Row v of the mesh half sums over all coarse vertices; those on the far side are copies with x turned
    # round.
    copies = np.eye(len(query_half.members))[query_half.source]
    rows = weights[mesh_half.members]
    turned = rows @ (copies * query_half.sign[:, None])
    matrix = np.stack([turned, rows @ copies, rows @ copies], axis=-1).astype(np.float32)
    sign = np.stack([mesh_half.sign, *[np.ones_like(mesh_half.sign)] * 2], axis=-1).astype(np.float32)
    return QueryLayout(coarse[query_half.members], matrix, mesh_half.source, sign)


def spread(layout: QueryLayout, displacement: Float[Array, "b q 3"]) -> Float[Array, "b v 3"]:
    """Displacements of all mesh vertices from those of the queries; exactly symmetric if the layout is."""
    if layout.matrix.shape[0] > layout.matrix.shape[1]:
        displacement = jnp.einsum("mqc,bqc->bmc", jnp.asarray(layout.matrix), displacement)
    if len(layout.source) == displacement.shape[1]:
        return displacement
    return displacement[:, layout.source] * jnp.asarray(layout.sign)[None]


class PerQueryHead(nnx.Module):
    """One linear map per query, starting at zero.

    With equal inputs for all queries it is the last layer of the MLP baseline.
    """

    def __init__(self, queries: int, dim: int, *, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        kernel = nnx.initializers.zeros(rngs.params(), (queries, dim, 3))
        self.kernel = nnx.Param(kernel, **named("queries", "embed", "coordinates"))

    def __call__(self, x: Float[Array, "b q d"]) -> Float[Array, "b q 3"]:
        return jnp.einsum("bqd,qdc->bqc", self.norm(x), self.kernel[...])


class SharedHead(nnx.Module):
    """One small MLP for all queries, its last layer starting at zero."""

    def __init__(self, dim: int, *, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.mlp = Mlp((dim, dim, 3), zero_last=True, last_bias=False, rngs=rngs)

    def __call__(self, x: Float[Array, "b q d"]) -> Float[Array, "b q 3"]:
        return self.mlp(self.norm(x))


class FieldHead(nnx.Module):
    """A field over the sphere, whose code each query tells for its own place; zero at first.

    Args:
      dim: of the queries.
      code_size, units: see `ProgressiveField`.
    Source: released AST code.
    """

    # AST-DIFF: places on the sphere; the released field is asked at the coarse vertices, of the batch's first picture
    # for all pictures.
    def __init__(self, dim: int, code_size: int, units: int, *, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.field = ProgressiveField(dim, code_size, units, rngs=rngs)

    def __call__(
        self, x: Float[Array, "b q d"], positions: Float[np.ndarray, "q 3"], live: int | Array | None = None
    ) -> Float[Array, "b q 3"]:
        """Displacements of the queries, from codes of which so many numbers are live; None: all."""
        return self.field(positions, self.field.code(self.norm(x), live))


def _make_head(config, queries: int, dim: int, *, rngs: nnx.Rngs) -> nnx.Module:
    kind = choose("config.model.shape.head", config.head, HEADS)
    if kind == "shared":
        return SharedHead(dim, rngs=rngs)
    if kind == "field":
        return FieldHead(dim, config.code_size, config.field_units, rngs=rngs)
    return PerQueryHead(queries, dim, rngs=rngs)


class ShapeOutput(NamedTuple):
    """Vertices, those after every earlier step, per layer the attention [b, n, q, l] if asked for, the cameras [b, k]
    after each step of synthesis, None where they stay, and the code and the stretch of each picture, if it has any."""

    vertices: Float[Array, "b v 3"]
    intermediate: tuple[Float[Array, "b v 3"], ...]
    cameras: PerspectiveCamera | None
    attention: tuple[Float[Array, "b n q l"], ...] | None
    code: Float[Array, "b n"] | None = None
    scale: Float[Array, "b 3"] | None = None


class ShapeBranch(nnx.Module):
    """Template + mean shape + coarse displacement from the summary + one displacement per decoder layer.

    vertices_i = radius * axes * sphere + mean + coarse(summary) + sum_{j <= i} spread(head_j(queries_j))

    and from there by ``synthesis_steps`` steps of analysis by synthesis, see ``ast_jax.model.synthesis``; all of it
    times ``1 + scale_range tanh(MLP(summary))`` along x, y and z, if there is a range.

    Every term but the template starts at zero. Without a decoder, ``kind="mlp"``, it stops after the coarse term: the
    baseline of CMR and DIB-R. With ``kind="field"`` that term is a `ProgressiveField` over the queries' places on the
    sphere: Unicorn.

    Args:
      config: ``config.model.shape``; see `ast_jax.config.model.ShapeConfig`.
      sizes: of the network.
    """

    def __init__(self, config, sizes: Sizes, *, rngs: nnx.Rngs):
        check_levels(config.query_level, config.level, "shape")
        make_decoder = DECODERS[choose("config.model.shape.kind", config.kind, DECODERS)]
        dim, channels = sizes.dim, sizes.channels
        self.levels = (config.query_level, config.level, config.symmetric)
        self.template = (config.radius, tuple(config.axes))
        positions = self.layout.positions
        q = len(positions)
        zeros = nnx.initializers.zeros(rngs.params(), (q, 3))
        self.mean = nnx.Param(zeros, **named("queries", "coordinates")) if config.mean_shape else None
        has_coarse, hidden = config.coarse or make_decoder is None, sizes.mlp_ratio * dim
        if has_coarse and "field" in (config.kind, config.head):
            self.coarse = ProgressiveField(dim, config.code_size, config.field_units, rngs=rngs)
        else:
            sizes_of_coarse = (dim, hidden, hidden, 3 * q)
            self.coarse = Mlp(sizes_of_coarse, zero_last=True, last_bias=False, rngs=rngs) if has_coarse else None
        self.scale_range = config.scale_range
        self.scale_head = Mlp((dim, dim, dim, dim, 3), zero_last=True, rngs=rngs) if config.scale_range else None
        kind = choose("config.model.shape.synthesis", config.synthesis, SYNTHESES)
        if kind != "none" and config.scale_range:
            raise ValueError(f"config.model.shape.scale_range={config.scale_range}: no step of synthesis knows of it.")
        if kind == "none":
            self.synthesis = None
        else:
            self.synthesis_level = map_index(config.synthesis_level, len(channels), "shape.synthesis_level")
            options = (config.synthesis_steps, config.synthesis_size, config.query_level, config.symmetric)
            options = (kind, *options, channels[self.synthesis_level])
            self.synthesis = ShapeSynthesis(*options, moves_camera=config.synthesis_camera, rngs=rngs)
        if make_decoder is None:
            self.embedding = self.decoder = self.heads = None
            return
        self.embedding = QueryEmbedding(positions, dim, condition_on_global=config.condition_on_global, rngs=rngs)
        self.decoder = make_decoder(config, sizes, rngs=rngs)
        count = config.layers if config.deep_supervision else 1
        self.heads = nnx.List([_make_head(config, q, dim, rngs=rngs) for _ in range(count)])

    @property
    def layout(self) -> QueryLayout:
        """Queries and how they move the mesh; fixed."""
        return query_layout(*self.levels)

    def __call__(
        self,
        encoding: Encoding,
        coverage: Float[Array, "b h w"] | None = None,
        camera: PerspectiveCamera | None = None,
        *,
        holds_camera: bool | Bool[Array, ""] = False,
        wrong_starts: WrongStarts | None = None,
        live: LiveCodes = ALL_LIVE,
        return_attention: bool = False,
    ) -> ShapeOutput:
        """Predict the vertices.

        Args:
          encoding: of the picture.
          coverage: of the object in the picture, which steps of synthesis compare with; None: none are taken.
          camera: the predicted one of the picture, for them.
          holds_camera: whether it is known, so that no step moves it.
          wrong_starts: which steps of synthesis begin elsewhere, in training.
          live: how much of the code and of the stretch counts.
          return_attention: also give the attention of every decoder layer.
        """
        tokens, summary = encoding.tokens, encoding.summary
        b, q = len(summary), len(self.layout.positions)
        displacement = jnp.zeros((b, q, 3), summary.dtype)
        if self.mean is not None:
            displacement = displacement + self.mean[...][None]
        steps, attention, cameras, code = [], None, None, None
        summaries = [summary] if encoding.mirrored is None else [summary, encoding.mirrored]
        if self.coarse is not None:
            found = [self._coarse_step(each, live) for each in summaries]
            coarse, code = sum(step for step, _ in found) / len(found), found[0][1]
            displacement = displacement + _STEP_SCALE * coarse.reshape(b, q, 3)
            steps.append(displacement)
        if self.decoder is not None:
            outputs, attention = self.decoder(self.embedding(summary), tokens, return_weights=return_attention)
            for head, output in zip(self.heads, outputs[-len(self.heads) :]):
                displacement = displacement + _STEP_SCALE * self._fine_step(head, output, live)
                steps.append(displacement)
        if self.synthesis is not None and coverage is not None:
            start = steps[-1].astype(jnp.float32)
            evidence = Evidence(coverage, camera, encoding.features[self.synthesis_level])
            options = dict(holds_camera=holds_camera, wrong_starts=wrong_starts)
            displacement, cameras = self.synthesis(start, self._query_points, evidence, **options)
            steps.append(displacement)
        scale = None if self.scale_head is None else self._scale(summaries, live)
        vertices = [self._vertices(step, scale) for step in steps]
        return ShapeOutput(vertices[-1], tuple(vertices[:-1]), cameras, attention, code, scale)

    def _coarse_step(self, summary, live: LiveCodes):
        """Displacements of the queries, and the code that they come from, if they do."""
        if not isinstance(self.coarse, ProgressiveField):
            return self.coarse(summary), None
        code = self.coarse.code(summary, live.shape)
        return self.coarse(self.layout.positions, code), code

    def _fine_step(self, head, output, live: LiveCodes):
        if isinstance(head, FieldHead):
            return head(output, self.layout.positions, live.shape)
        return head(output)

    def _scale(self, summaries, live: LiveCodes):
        share = 1.0 if live.scale is None else live.scale
        stretch = sum(jnp.tanh(self.scale_head(each)) for each in summaries) / len(summaries)
        return 1.0 + self.scale_range * share * stretch

    def mean_vertices(self) -> Float[Array, "1 v 3"] | None:
        """Template + mean shape: what every picture's shape starts from; None without a learned mean."""
        return None if self.mean is None else self._moved_template(self.mean[...][None])

    def _query_points(self, displacement):
        """Vertices of the queries' sphere."""
        level, _, symmetric = self.levels
        template = template_vertices(level, *self.template).astype(np.float32)
        return jnp.asarray(template)[None] + spread(query_layout(level, level, symmetric), displacement)

    def _vertices(self, displacement, scale=None):
        vertices = self._moved_template(displacement)
        return constrain(vertices if scale is None else vertices * scale[:, None], *_VERTEX_AXES)

    def _moved_template(self, displacement):
        template = template_vertices(self.levels[1], *self.template).astype(np.float32)
        return jnp.asarray(template)[None] + spread(self.layout, displacement)
