import jax
import jax.numpy as jnp
import numpy as np

from ast_jax.losses.chamfer2d import silhouette_chamfer_loss


def _oracle(vertices, mask, cell):
    """The definition in plain loops."""
    h, w = mask.shape
    cells = []
    for i in range(0, h, cell):
        for j in range(0, w, cell):
            ys, xs = np.nonzero(mask[i : i + cell, j : j + cell] > 0)
            if len(ys):
                weight = mask[i : i + cell, j : j + cell][ys, xs]
                x = (((j + xs + 0.5) / w * 2 - 1) * weight).sum() / weight.sum()
                y = ((1 - (i + ys + 0.5) / h * 2) * weight).sum() / weight.sum()
                cells.append((x, y, weight.sum() / cell**2))
    if not cells:
        return 0.0
    distances = np.array([[np.hypot(x - vx, y - vy) for vx, vy in vertices] for x, y, _ in cells])
    weights = np.array([m for *_, m in cells])
    outside = np.maximum(distances.min(0) - np.hypot(cell / w, cell / h), 0)
    return (weights * distances.min(1) ** 2).sum() / weights.sum() + (outside**2).mean()


def test_equals_the_definition():
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-1, 1, (3, 20, 2))
    mask = (rng.random((3, 16, 24)) > 0.8) * rng.random((3, 16, 24))
    mask[2] = 0
    with jax.enable_x64(True):
        got = silhouette_chamfer_loss(jnp.asarray(vertices), jnp.asarray(mask), cell=4)
    np.testing.assert_allclose(got, [_oracle(v, m, 4) for v, m in zip(vertices, mask)], rtol=1e-5, atol=1e-9)


def test_pulls_a_far_vertex_towards_the_mask_and_leaves_one_inside_alone():
    mask = jnp.zeros((1, 32, 32)).at[:, 8:24, 8:24].set(1)
    vertices = jnp.array([[[0.9, 0.0], [0.05, 0.05]]])
    outside_only = jax.grad(lambda v: silhouette_chamfer_loss(v, mask).sum())(vertices)
    assert outside_only[0, 0, 0] > 0  # descending moves it to smaller x
    empty = jax.grad(lambda v: silhouette_chamfer_loss(v, 0 * mask).sum())(vertices)
    assert np.all(np.asarray(empty) == 0)
