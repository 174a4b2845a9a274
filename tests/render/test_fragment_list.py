"""Lists of fragments: both ways to sort them, more rounds than one, and lists that are full to the last place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import FaceTexels, Mesh, fragment_list, rasterize, render, worklist
from render.screen import to_screen
from render.zbuffer import NO_FACE
from tests.render.scenes import orbiting

SIZE = (21, 17)


def fragments(seed, room, total, pixels):
    """Fragments in any order, no face twice in a pixel, with depths that are often equal; the rest is garbage."""
    rng = np.random.default_rng(seed)
    pixel, face = np.divmod(rng.permutation(pixels * 50)[:room], 50)
    pixel[total:] = pixels
    depth = rng.integers(1, 6, room)
    return fragment_list._Unsorted(
        jnp.asarray(pixel, jnp.int32), jnp.asarray(depth, jnp.float32), jnp.asarray(face, jnp.int32)
    )


@pytest.mark.parametrize("total", [0, 1, 15, 16, 17, 100, 255, 256])
def test_peeling_is_sorting(monkeypatch, total):
    monkeypatch.setattr(fragment_list, "_CHUNK", 16)
    room, pixels = 256, 9
    for seed in range(10):
        unsorted = fragments(seed, room, total, pixels)
        many = np.bincount(np.asarray(unsorted.pixel), minlength=pixels + 1)[:pixels]
        arguments = jnp.int32(total), jnp.asarray(many, jnp.int32), unsorted
        order = np.lexsort([np.asarray(part)[:total] for part in (unsorted.face, unsorted.depth, unsorted.pixel)])
        for way in (fragment_list._peel, fragment_list._sort):
            pixel, face = jax.jit(way)(*arguments)
            np.testing.assert_array_equal(pixel[:total], np.asarray(unsorted.pixel)[order])
            np.testing.assert_array_equal(face[:total], np.asarray(unsorted.face)[order])
            assert (np.asarray(pixel[total:]) == pixels).all()


@pytest.fixture
def short_lists(monkeypatch):
    """A function that shortens lists; it gives the list of their lengths, one for each round."""
    collect, rounds = fragment_list._collect, []

    def spy(search, mask):
        jax.debug.callback(lambda: rounds.append(search.room))
        return collect(search, mask)

    def limit(sort):
        monkeypatch.setattr(fragment_list, "_PER_PIXEL", 0)
        monkeypatch.setattr(fragment_list, "_CHUNK", 4)
        monkeypatch.setattr(fragment_list, "_SORT", sort)
        monkeypatch.setattr(fragment_list, "_collect", spy)
        jax.clear_caches()  # or the program of one round would be taken
        return rounds

    yield limit
    jax.clear_caches()


@pytest.mark.parametrize("layers, sort", [pytest.param(None, 0, marks=pytest.mark.slow), (2, 1000)])
def test_more_rounds_change_nothing(float64, bumpy_meshes, short_lists, layers, sort):
    vertices, faces, rng = bumpy_meshes
    texture = FaceTexels(jnp.asarray(rng.random((2, 20, 2, 2, 3))))

    def loss(points, texture):
        picture = render(
            Mesh(points, faces), orbiting(), SIZE, texture=texture, blending="layered", sigma=1e-3, layers=layers
        )
        return (picture.rgb**2).sum() + picture.alpha.sum(), picture

    def results():
        draw = jax.jit(jax.value_and_grad(lambda *scene: loss(*scene), argnums=(0, 1), has_aux=True))
        return draw(jnp.asarray(vertices), texture)

    expected = results()
    rounds = short_lists(sort)
    for wanted, found in zip(jax.tree.leaves(expected), jax.tree.leaves(results())):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    jax.effects_barrier()
    # A pixel may see all 20 faces, so that lists are as long; forward and backward take as many rounds.
    assert set(rounds) == {20} and len(rounds) > 10 and len(rounds) % 2 == 0


def test_no_surface_is_in_front_of_itself(bumpy_meshes):
    """Though its depth, interpolated anew, may be rounded to a smaller number."""
    vertices, faces, _ = bumpy_meshes
    clip = orbiting().project(jnp.asarray(vertices, jnp.float32))
    seen = rasterize(clip, faces, SIZE)
    number = seen.face_id + len(faces) * jnp.arange(2, dtype=jnp.int32)[:, None, None]
    surface = fragment_list.Surface(
        jnp.where(seen.face_id >= 0, seen.depth * (1 + 1e-5), jnp.inf), jnp.where(seen.face_id >= 0, number, NO_FACE)
    )
    screen, canvas = to_screen(clip, faces, SIZE, None, None), worklist.make_canvas(2, SIZE)
    # Inside of faces: beside them others would be near.
    search = fragment_list.make_search(canvas, screen, jnp.float32(1e-6), surface)
    assert (seen.face_id >= 0).sum() > 100 and not fragment_list.count_fragments(search).any()


def test_rounds_end_before_the_list_is_full():
    for count, room, ends in (
        ([3, 0, 5, 2, 4, 1, 0, 0], 7, [2, 4, 8]),
        ([7, 7, 1, 6], 7, [1, 2, 4]),
        # More than an int32 counts.
        ([5] + [2**31 - 1] * 9, 2**30 - 1, None),
        ([2**29] * 12, 2**30 - 1, list(range(1, 13))),
    ):
        found = [0]
        while found[-1] < len(count) and len(found) < 20:
            end = fragment_list._end_of_round(jnp.asarray(count, jnp.int32), jnp.int32(found[-1]), room)
            assert end.dtype == jnp.int32
            found.append(int(end))
            if ends is None:
                break
        assert found[1:] == ([1] if ends is None else ends)
