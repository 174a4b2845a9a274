"""Steps of synthesis against float64 brute force, finite differences, and bodies whose silhouette is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ast_jax.model.cameras.geometry import moved_camera
from ast_jax.model.shape import query_layout, spread
from ast_jax.model.synthesis import Evidence, ShapeSynthesis, smoothing_matrices, synthesize
from ast_jax.model.template import sphere
from render import orbit, rasterize
from tests.render import reference

SIZE = 24
LEVEL = 2
BALL = sphere(2)
CAMERAS = orbit(2.7, np.array([0.2, -0.1]), np.array([0.7, 4.0]), np.radians(25.0))
FEATURES = np.random.default_rng(0).normal(size=(2, 4, 4, 5)).astype(np.float32)


def seen(vertices) -> Evidence:
    """Evidence of bodies that are known."""
    drawn = rasterize(CAMERAS.project(jnp.asarray(vertices, jnp.float32)), BALL.faces, (SIZE, SIZE))
    return Evidence((drawn.face_id >= 0).astype(jnp.float32), CAMERAS, jnp.asarray(FEATURES))


# Long and lopsided bodies, symmetric about x = 0, and a smaller ball to start from.
BODIES = np.stack([0.3 * BALL.vertices * [0.7, 0.8, 1.4], 0.3 * BALL.vertices * [0.8, 1.4, 0.7] + [0, 0.05, 0.03]])
EVIDENCE = seen(BODIES)


LAYOUT = query_layout(LEVEL, LEVEL, True)


def to_sphere(displacement):
    return (0.3 * BALL.vertices[None]).astype(np.float32) + spread(LAYOUT, displacement)


def make(kind: str, steps: int = 6) -> ShapeSynthesis:
    return ShapeSynthesis(kind, steps, SIZE, LEVEL, True, FEATURES.shape[-1], moves_camera=True, rngs=nnx.Rngs(0))


START = jnp.zeros((2, len(LAYOUT.positions), 3))


def overlaps(vertices) -> np.ndarray:
    drawn = np.asarray(rasterize(CAMERAS.project(vertices), BALL.faces, (SIZE, SIZE)).face_id >= 0)
    wanted = np.asarray(EVIDENCE.coverage) > 0.5
    return (drawn & wanted).sum((1, 2)) / (drawn | wanted).sum((1, 2))


def test_mismatch_is_that_of_brute_force():
    vertices = np.repeat(0.3 * BALL.vertices[None], 2, 0).astype(np.float32)
    found = synthesize(vertices, BALL.faces, EVIDENCE, 1e-3)
    for k in range(2):
        clip = np.asarray(CAMERAS.project(vertices), np.float64)[k]
        alpha = reference.coverage(clip, BALL.faces, (SIZE, SIZE), 1e-3)
        mask = np.asarray(EVIDENCE.coverage[k], np.float64)
        both = (alpha * mask).sum()
        np.testing.assert_allclose(found.mismatch[k], 1 - both / ((alpha + mask).sum() - both), atol=1e-5)


def test_gradient_is_the_slope_of_the_mismatch():
    vertices = np.repeat(0.3 * BALL.vertices[None], 2, 0).astype(np.float32)
    direction = np.random.default_rng(1).normal(size=vertices.shape).astype(np.float32)
    sides = [synthesize(vertices + h * direction, BALL.faces, EVIDENCE, 1e-3).mismatch for h in (1e-3, -1e-3)]
    slope = (np.asarray(sides[0], np.float64) - np.asarray(sides[1], np.float64)) / 2e-3
    gradient = np.asarray(synthesize(vertices, BALL.faces, EVIDENCE, 1e-3).gradient, np.float64)
    np.testing.assert_allclose((gradient * direction).sum((1, 2)), slope, rtol=0.03)


def test_unlearned_steps_find_the_silhouette():
    after = [to_sphere(make("fit", steps)(START, to_sphere, EVIDENCE)[0]) for steps in (1, 8)]
    assert (overlaps(to_sphere(START)) < 0.8).all()
    assert (overlaps(after[-1]) > 0.93).all() and (overlaps(after[-1]) > overlaps(after[0])).all()


def test_learned_steps_start_as_the_unlearned_ones():
    fit, learned = (make(kind, 3)(START, to_sphere, EVIDENCE)[0] for kind in ("fit", "learned"))
    np.testing.assert_allclose(learned, fit, atol=1e-6)


@functools.cache
def trained() -> ShapeSynthesis:
    """Learned steps with weights that are not those of the start."""
    graph, params = nnx.split(make("learned", 2))
    rng = np.random.default_rng(3)
    return nnx.merge(graph, jax.tree.map(lambda x: x + 0.2 * rng.normal(size=x.shape).astype(np.float32), params))


def test_gradient_passes_to_where_the_steps_began_and_not_to_the_evidence():
    def total(displacement, evidence):
        return (make("fit", 2)(displacement, to_sphere, evidence)[0] * direction).sum()

    direction = np.random.default_rng(2).normal(size=START.shape).astype(np.float32)
    by_start, by_evidence = jax.grad(total, argnums=(0, 1))(START, EVIDENCE)
    np.testing.assert_allclose(by_start, direction, atol=1e-6)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(by_evidence))


def test_every_kind_of_evidence_moves_the_queries():
    whole = trained()(START, to_sphere, EVIDENCE)[0]
    swap = functools.partial(jax.tree.map, lambda x: x[::-1])
    for name in Evidence._fields:
        other = trained()(START, to_sphere, EVIDENCE._replace(**{name: swap(getattr(EVIDENCE, name))}))[0]
        assert np.abs(np.asarray(other - whole)).max() > 1e-3, name


def test_gradient_by_the_camera_is_the_slope_along_its_motions():
    vertices = np.repeat(0.3 * BALL.vertices[None], 2, 0).astype(np.float32)
    found = synthesize(vertices, BALL.faces, EVIDENCE, 1e-3, moves_camera=True).camera_gradient
    for axis in range(6):
        motion = jnp.broadcast_to(1e-3 * jnp.eye(6)[axis], (2, 6))
        sides = [moved_camera(CAMERAS, sign * motion) for sign in (1, -1)]
        values = [synthesize(vertices, BALL.faces, EVIDENCE._replace(camera=c), 1e-3).mismatch for c in sides]
        slope = (np.asarray(values[0], np.float64) - np.asarray(values[1], np.float64)) / 2e-3
        np.testing.assert_allclose(found[:, axis], slope, atol=0.02 * np.abs(np.asarray(found)).max())


def test_cameras_stay_at_first_and_where_they_are_held():
    cameras = make("learned", 3)(START, to_sphere, EVIDENCE)[1]
    assert cameras.rotation.shape == (2, 3, 3, 3)
    jax.tree.map(lambda now, first: np.testing.assert_allclose(now[:, -1], first, atol=1e-6), cameras, CAMERAS)
    assert trained()(START, to_sphere, EVIDENCE, holds_camera=True)[1] is None
    assert make("fit", 2)(START, to_sphere, EVIDENCE)[1] is None


def test_learned_steps_move_the_camera_each_by_a_motion_of_its_own():
    """What the last camera is asked to do reaches the network, and not the cameras before."""

    def turn(network, camera):
        steps = nnx.merge(graph, network)
        return steps(START, to_sphere, EVIDENCE._replace(camera=camera))[1].rotation[:, -1, 0, 1].sum()

    graph, network = nnx.split(trained())
    cameras = trained()(START, to_sphere, EVIDENCE)[1]
    assert np.abs(np.asarray(cameras.rotation[:, 1] - cameras.rotation[:, 0])).max() > 1e-3
    by_network, by_camera = jax.grad(turn, argnums=(0, 1))(network, CAMERAS)
    assert np.abs(np.asarray(by_network["network"]["camera"]["decode"]["layers"][1]["kernel"][...])).max() > 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(by_camera))


@pytest.mark.parametrize("index", range(3))
def test_smoothing_keeps_constants_and_is_symmetric(index):
    matrix = smoothing_matrices(1)[index]
    np.testing.assert_allclose(matrix.sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    assert (matrix > 0).all()
