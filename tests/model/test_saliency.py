"""The saliency head learns where objects are, in pictures that it has not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ast_jax.losses.saliency import saliency_loss
from ast_jax.model.backbones.convnet import ConvNet
from ast_jax.model.saliency import SaliencyHead


class _Finder(nnx.Module):
    def __init__(self, *, rngs):
        self.backbone = ConvNet(8, 1, rngs=rngs)
        self.head = SaliencyHead(8, rngs=rngs)

    def __call__(self, image):
        return self.head(self.backbone(image)[0])


def _planted(count, seed, size=32):
    """Discs of warm colours before cold ones, as bright as each other; pictures and masks."""
    rng = np.random.default_rng(seed)
    centre, radius = rng.uniform(8, 24, (count, 2, 1, 1)), rng.uniform(4, 8, (count, 1, 1))
    rows, columns = np.mgrid[:size, :size] + 0.5
    mask = (np.hypot(rows - centre[:, 0], columns - centre[:, 1]) < radius).astype(np.float32)
    bright = rng.uniform(0.3, 0.9, (count, size, size, 1))
    warm, cold = rng.uniform([0.7, 0.2, 0.0], [1, 0.6, 0.4], (count, 1, 1, 3)), np.array([0.2, 0.6, 0.9])
    return jnp.float32(bright * np.where(mask[..., None] > 0, warm, cold)), jnp.asarray(mask)


def test_planted_masks_are_found_in_new_pictures():
    graph, params = nnx.split(_Finder(rngs=nnx.Rngs(0)))
    images, masks = _planted(16, 0)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, state):
        grads = jax.grad(lambda p: saliency_loss(nnx.merge(graph, p)(images), masks).mean())(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    # Steps one by one: XLA convolves slowly inside of loops on a CPU.
    state = optimizer.init(params)
    for _ in range(60):
        params, state = step(params, state)
    unseen, wanted = _planted(16, 1)
    found = np.asarray(nnx.merge(graph, params)(unseen)) > 0.5
    wanted = np.asarray(wanted).reshape(16, 16, 2, 16, 2).mean((2, 4)) > 0.5
    assert found.shape == wanted.shape == (16, 16, 16)
    assert (found & wanted).sum() / (found | wanted).sum() > 0.85
