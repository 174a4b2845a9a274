"""Analysis by synthesis inside the network: draw the mesh, compare it with the picture, move both, and again.

What a step is told, places and gradients, is an input to it as the picture is: nothing is differentiated twice.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int

from ast_jax.arrays import Array
from ast_jax.model.axes import each_share
from ast_jax.model.cameras.geometry import NUM_MOTIONS, moved_camera
from ast_jax.model.gather import PictureReader
from ast_jax.model.layers import NUM_FREQUENCIES, Mlp, QueryEmbedding, fourier, linear
from ast_jax.model.starts import WrongStarts
from ast_jax.model.template import sphere, vertex_half
from render import PerspectiveCamera, soft_coverage, vertex_normals

KINDS = ("none", "fit", "learned")
NEEDS = (
    "compares the mesh with the picture; it needs cut-out pictures, with their coverage as a fourth channel "
    "(config.data.input_masked=True), and a predicted camera (config.model.camera.predict=True); or set it to none."
)

# Softness of the drawn silhouette from the first step to the last: wide at first, to reach far.
_SIGMAS = (1e-3, 1e-4)
# How far the vertex that moves most goes, from the first step to the last, world units.
_RATES = (0.04, 0.01)
# Smoothing of gradients over the sphere: (1 + lambda L)^-2, as in Nicolet et al. 2021, whose lambda is that of a step.
_SPREADS = (0.3, 1.0, 10.0)
_TINY = 1e-12
_DIM = 64  # of the queries: there are K rounds of them
# Moves are this times what the network says: see `ast_jax.model.shape`.
_LEARNED_RATE = 0.1
# Place and depth; own gradient, its smoothings and the normal; mismatch and rate.
_NUM_OBSERVED = 3 + 6 * NUM_FREQUENCIES + 3 * (len(_SPREADS) + 2) + 2


def _at_most(coverage: Float[Array, "b h w"], size: int) -> Float[Array, "b i j"]:
    """Coverage with sides of at most ``size`` pixels."""
    shape = (len(coverage), *(min(side, size) for side in coverage.shape[1:]))
    return coverage if shape == coverage.shape else jax.image.resize(coverage, shape, "linear", antialias=True)


class Evidence(NamedTuple):
    """What the steps look at; no gradient flows into coverage and camera.

    Args:
      coverage: of the object in the picture, in [0, 1].
      camera: of the picture, leading axis [b]; where the steps move it, the first one.
      features: a map of the encoder.
    """

    coverage: Float[Array, "b h w"]
    camera: PerspectiveCamera
    features: Float[Array, "b i j c"]


class Synthesis(NamedTuple):
    """The mesh against the picture.

    Args:
      gradient: of the mismatch by the vertices.
      camera_gradient: by a motion of the camera (`ast_jax.model.cameras.geometry.moved_camera`); None where it stays.
      mismatch: ``1 - IoU`` of drawn and seen silhouette, in [0, 1].
    """

    gradient: Float[Array, "b v 3"]
    camera_gradient: Float[Array, "b 6"] | None
    mismatch: Float[Array, " b"]


def synthesize(
    vertices: Float[Array, "b v 3"],
    faces: Int[np.ndarray, "f 3"],
    evidence: Evidence,
    sigma: float | Float[Array, ""],
    *,
    moves_camera: bool = False,
) -> Synthesis:
    """Draw the mesh with the camera, and compare its silhouette with the picture's.

    Args:
      vertices: world space.
      faces: counter-clockwise from outside.
      evidence: coverage and camera.
      sigma: softness, squared NDC.
      moves_camera: whether the gradient by the camera is asked for, too; it has to be one of perspective.
    """

    def mismatch(vertices, motion, camera, coverage):
        camera = camera if motion is None else moved_camera(camera, motion)
        alpha = soft_coverage(camera.project(vertices), faces, coverage.shape[1:], sigma)
        both = (alpha * coverage).sum((1, 2))
        loss = 1 - both / jnp.maximum((alpha + coverage).sum((1, 2)) - both, _TINY)
        return loss.sum(), loss

    def compare(vertices, camera, coverage):
        motion = jnp.zeros((len(vertices), NUM_MOTIONS), vertices.dtype) if moves_camera else None
        slopes, value = jax.grad(mismatch, argnums=(0, 1), has_aux=True)(vertices, motion, camera, coverage)
        return (*slopes, value)

    scene = jax.lax.stop_gradient((vertices, evidence.camera, evidence.coverage))
    return Synthesis(*jax.lax.stop_gradient(each_share(compare)(*scene)))


def _unit(vectors: Float[Array, "k b q 3"]) -> Float[Array, "k b q 3"]:
    """Vectors over the length of the longest of all queries."""
    longest = jnp.square(vectors).sum(-1, keepdims=True).max(2, keepdims=True)
    return vectors / jnp.sqrt(longest + _TINY**2)


@functools.cache
def smoothing_matrices(level: int) -> Float[np.ndarray, "k q q"]:
    """``(1 + lambda L)^-2`` on an icosphere level for each lambda of ``_SPREADS``; L is the graph Laplacian."""
    ball = sphere(level)
    count = len(ball.vertices)
    neighbours = np.zeros((count, count))
    for corner in range(3):
        neighbours[ball.faces[:, corner], ball.faces[:, corner - 1]] = 1
    neighbours = np.maximum(neighbours, neighbours.T)
    laplacian = np.diag(neighbours.sum(1)) - neighbours
    inverse = [np.linalg.inv(np.eye(count) + spread * laplacian) for spread in _SPREADS]
    return np.stack([matrix @ matrix for matrix in inverse]).astype(np.float32)


class Observation(NamedTuple):
    """What the picture and the drawn mesh say to each query of the sphere, in the frame of the view.

    Args:
      places: NDC.
      vectors: numbers that describe place, depth, normal and gradients.
      camera_slope: gradient of the mismatch by a motion of the camera, or None.
    """

    places: Float[Array, "b q 2"]
    vectors: Float[Array, "b q c"]
    camera_slope: Float[Array, "b 6"] | None


class CameraUpdate(nnx.Module):
    """What all queries together say of the camera: each speaks for itself, the mean of them is decoded.

    Args:
      dim: of the queries.
    """

    def __init__(self, dim: int, *, rngs: nnx.Rngs):
        self.speak = linear(dim, 2 * dim, rngs=rngs)
        self.decode = Mlp((2 * dim + NUM_MOTIONS, 2 * dim, NUM_MOTIONS), zero_last=True, rngs=rngs)

    def __call__(self, queries: Float[Array, "b q d"], slope: Float[Array, "b 6"]) -> Float[Array, "b 6"]:
        """A motion of the camera, from the queries and from the gradient of the mismatch by such a motion."""
        return _LEARNED_RATE * self.decode(jnp.concatenate([nnx.gelu(self.speak(queries)).mean(1), slope], axis=-1))


class UpdateNetwork(nnx.Module):
    """What each query makes of its observation, its neighbours and the picture: how to move.

    Args:
      level: icosphere level of the queries.
      dim: embedding size.
      channels: of the map that is read.
      moves_camera: whether all of them move the camera, too.
    """

    def __init__(self, level: int, dim: int, channels: int, moves_camera: bool, *, rngs: nnx.Rngs):
        self.level = level
        self.embedding = QueryEmbedding(sphere(level).vertices, dim, condition_on_global=False, rngs=rngs)
        self.observe = linear(_NUM_OBSERVED, dim, rngs=rngs)
        self.reader_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.reader = PictureReader(channels, dim, rngs=rngs)
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.exchange = Mlp((3 * dim, dim, dim), rngs=rngs)
        self.head_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.head = Mlp((dim, dim, 5), zero_last=True, rngs=rngs)
        self.camera = CameraUpdate(dim, rngs=rngs) if moves_camera else None

    def start(self, count: int) -> Float[Array, "b q d"]:
        """The queries before the first step."""
        queries = self.embedding(jnp.zeros((count, _DIM), self.embedding.learned.dtype))
        return jnp.broadcast_to(queries, (count, *queries.shape[1:]))

    def __call__(
        self, queries: Float[Array, "b q d"], seen: Observation, features: Float[Array, "b i j c"]
    ) -> tuple[Float[Array, "b q d"], Float[Array, "b q 5"], Float[Array, "b 6"] | None]:
        """The queries after this step; for each a move in the view's frame, a gain and a confidence; a motion."""
        queries = queries + self.observe(seen.vectors)
        queries = queries + self.reader(self.reader_norm(queries), features, seen.places)
        normed = self.norm(queries)
        near = jnp.einsum("pq,bqd->bpd", jnp.asarray(smoothing_matrices(self.level)[0]), normed)
        whole = jnp.broadcast_to(normed.mean(1, keepdims=True), normed.shape)
        queries = queries + self.exchange(jnp.concatenate([normed, near, whole], axis=-1))
        normed = self.head_norm(queries)
        motion = None if self.camera is None or seen.camera_slope is None else self.camera(normed, seen.camera_slope)
        return queries, self.head(normed), motion


class ShapeSynthesis(nnx.Module):
    """K steps of analysis by synthesis, all with the same weights.

    Every step draws the mesh and moves its queries against the smoothed gradient of the mismatch; learned, a network
    says for each query how far, and what to add to it: in the frame of the view, for that is what evidence speaks of.
    A symmetric shape fuses what a query and its mirror image say, by their confidence. All queries together say how the
    camera moves: what is seen through a camera that is six degrees off is evidence for the wrong shape.

    Args:
      kind: "fit", without weights, or "learned".
      steps: K.
      size: sides of the drawn silhouettes, px; the picture's coverage is made as small.
      level: icosphere level of the queries, which is what is drawn.
      symmetric: whether the shape is.
      channels: of the map that is read.
      moves_camera: whether learned steps move the camera.
    """

    def __init__(
        self,
        kind: str,
        steps: int,
        size: int,
        level: int,
        symmetric: bool,
        channels: int,
        *,
        moves_camera: bool = False,
        rngs: nnx.Rngs,
    ):
        self.steps, self.size, self.level, self.symmetric = steps, size, level, symmetric
        is_learned = kind == "learned"
        self.network = UpdateNetwork(level, _DIM, channels, moves_camera, rngs=rngs) if is_learned else None

    def __call__(
        self,
        displacement: Float[Array, "b m 3"],
        to_sphere: Callable,
        evidence: Evidence,
        *,
        holds_camera: bool | Bool[Array, ""] = False,
        wrong_starts: WrongStarts | None = None,
    ) -> tuple[Float[Array, "b m 3"], PerspectiveCamera | None]:
        """The displacements after the last step, and the cameras after each.

        Args:
          displacement: of the queries; of those with x >= 0 if symmetric.
          to_sphere: displacements to vertices of the queries' sphere, ``[b, q, 3]``.
          evidence: of the picture.
          holds_camera: whether the camera is known, and stays; an array where one program serves both.
          wrong_starts: in training, which of them begin elsewhere; their cameras, too, if the steps move cameras.

        Returns:
          displacements as given; cameras with leading axes ``[b, k]``, None where no step can move them.
        """
        evidence = evidence._replace(coverage=_at_most(evidence.coverage, self.size))
        moves_camera = self.network is not None and self.network.camera is not None and holds_camera is not True
        if wrong_starts is not None:
            displacement = wrong_starts.shapes(displacement)
        if wrong_starts is not None and moves_camera:
            evidence = evidence._replace(camera=wrong_starts.cameras(evidence.camera))

        def step(carry, schedule):
            displacement, queries, camera = carry
            rate, sigma = schedule
            camera = jax.lax.stop_gradient(camera)
            points = jax.lax.stop_gradient(to_sphere(displacement))
            now = evidence._replace(camera=camera)
            drawn = synthesize(points, sphere(self.level).faces, now, sigma, moves_camera=moves_camera)
            seen, downhill = self._observe(points, drawn, camera, rate)
            queries, change, motion = self._change(queries, seen, downhill, now)
            if motion is not None:
                camera = moved_camera(camera, jnp.where(holds_camera, 0.0, motion))
            return (displacement + change, queries, camera), camera if moves_camera else None

        rates, sigmas = (np.geomspace(*ends, self.steps, dtype=np.float32) for ends in (_RATES, _SIGMAS))
        queries = None if self.network is None else self.network.start(len(displacement))
        schedule = jnp.asarray(rates), jnp.asarray(sigmas)
        first = (displacement, queries, jax.tree.map(jnp.asarray, evidence.camera))
        (displacement, _, _), cameras = jax.lax.scan(step, first, schedule)
        return displacement, jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), cameras)

    def _change(self, queries, seen: Observation, downhill, evidence: Evidence):
        """The queries after a step, the change of the displacements, and the motion of the camera."""
        confidence, motion = jnp.ones((*downhill.shape[:2], 1), downhill.dtype), None
        if self.network is not None:
            queries, answer, motion = self.network(queries, seen, evidence.features)
            to_world = jax.lax.stop_gradient(evidence.camera.rotation)
            moved = _LEARNED_RATE * jnp.einsum("bji,bqj->bqi", to_world, answer[..., :3])
            downhill = 2 * jax.nn.sigmoid(answer[..., 3:4]) * downhill + moved
            confidence = jax.nn.sigmoid(answer[..., 4:])
        return queries, self._fused(downhill, confidence), motion

    def _observe(self, points, drawn: Synthesis, camera: PerspectiveCamera, rate) -> tuple[Observation, Array]:
        """What each query sees, and the unlearned step: ``rate`` for the query that moves most."""
        camera = jax.lax.stop_gradient(camera)
        both = drawn.gradient + self._mirrored(drawn.gradient) if self.symmetric else drawn.gradient
        smooth = jnp.einsum("kpq,bqc->kbpc", jnp.asarray(smoothing_matrices(self.level)), both)
        slopes = _unit(jnp.concatenate([drawn.gradient[None], smooth]))
        normals = vertex_normals(points, sphere(self.level).faces)
        directions = jnp.concatenate([slopes, normals[None]])
        directions = jnp.einsum("bij,kbqj->bqki", camera.rotation, directions).reshape(*points.shape[:2], -1)
        clip = camera.project(points)
        places = clip[..., :2] / clip[..., 3:]
        depth = jnp.einsum("bj,bqj->bq", camera.rotation[:, 2], points)
        position = jnp.concatenate([places, 2 * depth[..., None]], axis=-1)
        whole = jnp.stack([drawn.mismatch, jnp.broadcast_to(rate / _RATES[0], drawn.mismatch.shape)], axis=-1)
        whole = jnp.broadcast_to(whole[:, None], (*points.shape[:2], 2))
        vectors = jnp.concatenate([fourier(position, NUM_FREQUENCIES), directions, whole], axis=-1)
        return Observation(places, vectors, drawn.camera_gradient), -rate * slopes[2]

    def _mirrored(self, vectors):
        return vectors[:, sphere(self.level).mirror_vertex] * np.array([[[-1, 1, 1]]], np.float32)

    def _fused(self, change, confidence):
        """The change of the predicted queries."""
        if not self.symmetric:
            return change
        ball, members = sphere(self.level), vertex_half(self.level).members
        other = confidence[:, ball.mirror_vertex]
        fused = (confidence * change + other * self._mirrored(change)) / (confidence + other)
        return fused[:, members]
