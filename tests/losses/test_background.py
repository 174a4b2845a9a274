"""What lies behind an object: drawn, learned, held still where only cameras are; and pictures compared as a whole."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from ast_jax.losses.term import LossInputs, Seen
from ast_jax.losses.total import total_loss
from tests.losses.test_total import scene

INPUTS = LossInputs(sigma=1e-4, blending="hard", background=(0.0, 0.0, 0.0))


def _seen(background=None, **options) -> Seen:
    prediction, batch = scene()
    prediction = replace(prediction, background=background)
    return Seen(prediction, batch, batch.camera, replace(INPUTS, **options), with_colour=True)


@jax.jit
def _drawn(background):
    """Colours and coverage, whose pixels are either the object's or what lies behind it."""
    seen = _seen(background, whole_picture=True)
    return seen.rgb, seen.alpha


def test_the_rendering_stands_in_front_of_the_background():
    behind = np.random.default_rng(0).uniform(0.1, 1, (2, 16, 16, 3)).astype(np.float32)
    (black, alpha), (rgb, same) = map(_drawn, (np.zeros_like(behind), behind))
    np.testing.assert_array_equal(alpha, same)
    is_clear = np.asarray(black).max(-1) == 0  # no texel is black
    assert (np.asarray(alpha)[is_clear] < 0.9).all() and (np.asarray(alpha)[~is_clear] > 0.1).all()
    assert 0.1 < is_clear.mean() < 0.9
    np.testing.assert_allclose(rgb, np.where(is_clear[..., None], np.repeat(behind, 2, axis=0), black), atol=1e-6)
    # A background of another size is drawn to that of the views: a ramp stays the same ramp.
    ramp, view = ((np.arange(size) + 0.5) / size for size in (8, 16))
    wide = np.broadcast_to(ramp[None, None, :, None], (2, 8, 8, 3)).astype(np.float32)
    drawn = np.where(is_clear[..., None], _drawn(wide)[0], view[None, None, :, None])
    np.testing.assert_allclose(
        drawn[:, :, 1:-1], np.broadcast_to(view[None, None, 1:-1, None], drawn[:, :, 1:-1].shape), atol=1e-5
    )


def test_whole_pictures_are_compared_without_the_mask():
    seen, parts = _seen(whole_picture=True), _seen()
    outside = (seen.mask == 0) & (seen.alpha == 0)
    assert outside.any()
    np.testing.assert_array_equal(seen.rgb[outside], 0)
    np.testing.assert_array_equal(parts.rgb[outside], parts.target[outside])
    other = replace(seen.batch, target_masks=1 - seen.batch.target_masks)
    np.testing.assert_array_equal(replace(seen, batch=other).rgb, seen.rgb)


def test_the_background_is_learned_where_nothing_stands_and_not_in_the_pose_phase():
    prediction, batch = scene()
    candidates = jax.tree.map(lambda x: x[:, :1], batch.camera)
    prediction = replace(prediction, camera=candidates, camera_logits=jnp.zeros((2, 1)))
    covered = _seen().alpha.reshape(2, 2, 16, 16)[:, 0] == 1

    def loss(behind, phase):
        inputs = replace(INPUTS, whole_picture=True, phase=phase)
        return total_loss(replace(prediction, background=behind), batch, {"mse": 1.0}, inputs)[0]

    behind = jnp.full((2, 16, 16, 3), 0.5)
    grads = jax.grad(loss)(behind, "shape")
    assert not grads[covered].any() and np.abs(grads).max() > 0
    expected = 2 * (behind - batch.target_images[:, 0]) / behind.size
    clear = _seen().alpha.reshape(2, 2, 16, 16)[:, 0] == 0
    np.testing.assert_allclose(grads[clear], expected[clear], rtol=1e-4)
    assert not jax.grad(loss)(behind, "pose").any()
