"""DIB-R's soft mask and the gradients that Kaolin keeps of it; its mask metric, and the faces of its test pictures.

Scene, loss and numbers: kaolin 0.18.0 (d52da9f, Apache-2.0), tests/python/kaolin/render/mesh/test_dibr.py,
TestSimpleDibrSoftMask, and sums and entries of tests/samples/dibr/simple/*.pt.

Kaolin measures distances in image coordinates that span [-1, 1] along both axes, also where the image is not square,
and each face counts only in its box grown by `boxlen`. Neither is a rule of `render`, so faces are taken one by one
and their boxes are cut here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import from_kaolin, rasterize, soft_coverage
from render.demo import soft_iou
from render.distance import signed_squared_distance, triangle_table

HEIGHT, WIDTH = 35, 31
# Two images of three triangles, `[2, 3, 3, 2]`.
DIAMOND = [
    [[-0.7, 0.0], [0.0, -0.7], [0.0, 0.7]],
    [[-0.7, 0.0], [0.0, 0.7], [0.0, -0.7]],
    [[0.0, -0.7], [0.0, 0.7], [0.7, 0.0]],
]
CORNERS = np.array([DIAMOND, [[[-0.7, -0.7], [0.7, -0.7], [-0.7, 0.7]]] * 3])
X = np.broadcast_to((2 * np.arange(WIDTH) + 1 - WIDTH) / WIDTH, (HEIGHT, WIDTH))
Y = np.broadcast_to(((HEIGHT - 2 * np.arange(HEIGHT) - 1) / HEIGHT)[:, None], (HEIGHT, WIDTH))
ONE = np.array([[0, 1, 2]], np.int32)
# By (1 / sigma, boxlen): sum of the mask, loss, sum and largest of |gradient|, and the gradient of the corners of the
# last face of the first image and of the first face of the second.
KEPT = {
    (7000, 0.02): (574.8155982, 0.564118425, 2.43600961, 0.24367816),
    (7000, 0.2): (574.8157903, 0.564118536, 2.43600812, 0.24367794),
    (70, 0.02): (753.1605865, 0.570440089, 0.90516959, 0.09215869),
    (70, 0.2): (895.9943253, 0.575108467, 1.14481026, 0.10977876),
}
GRADIENTS = {
    (7000, 0.02): (
        [[0.0479032338, -0.0479032338], [0.0479032338, 0.0479032338], [0.1078649599, 0.0]],
        [[0.2436781577, 0.0], [0.0445121913, 0.0445121913], [0.1314182320, 0.0300835882]],
    ),
    (7000, 0.2): (
        [[0.0479032299, -0.0479040966], [0.0479032299, 0.0479040966], [0.1078649511, 0.0]],
        [[0.2436779423, -0.0000100159], [0.0445122570, 0.0445021345], [0.1314180745, 0.0300840326]],
    ),
    (70, 0.02): (
        [[0.0425663277, -0.0425663277], [0.0425663277, 0.0425663277], [0.0921586929, 0.0]],
        [[0.0000007298, 0.0], [0.0239296454, 0.0239296454], [0.0230049177, 0.0230045936]],
    ),
    (70, 0.2): (
        [[0.0349834354, -0.0489970649], [0.0349834354, 0.0489970649], [0.1097787563, 0.0]],
        [[0.0364281622, -0.0213906057], [0.0288292964, 0.0025378037], [0.0469723881, 0.0294221648]],
    ),
}


draw = jax.jit(rasterize, static_argnums=2, static_argnames="cull_backfaces")


@functools.cache
def hard_mask():
    """Pixels that any of the three triangles covers, `[2, h, w]`."""
    clip = jnp.asarray(np.concatenate([CORNERS, np.zeros((2, 3, 3, 1)), np.ones((2, 3, 3, 1))], axis=-1))
    faces = np.arange(9, dtype=np.int32).reshape(3, 3)
    return np.asarray(draw(clip.reshape(2, 9, 4), faces, (HEIGHT, WIDTH)).face_id) >= 0


def soft_mask(chances, boxlen):
    """Joins the soft masks of single faces, `[2, 3, h, w]`, each within its box."""
    low, high = CORNERS.min(2)[..., None, None] - boxlen, CORNERS.max(2)[..., None, None] + boxlen
    x, y = X[None, None], Y[None, None]
    boxed = (x >= low[:, :, 0]) & (x < high[:, :, 0]) & (y >= low[:, :, 1]) & (y < high[:, :, 1])
    clear = 1 - jnp.where(boxed, chances, 0.0)
    return 1 - clear[:, 0] * clear[:, 1] * clear[:, 2]


def iou_loss(mask, wanted):
    """kaolin.metrics.render.mask_iou: one minus the mean intersection over union."""
    both = (mask * wanted).sum((1, 2))
    return 1 - (both / ((mask + wanted).sum((1, 2)) - both + 1e-10)).mean()


@functools.partial(jax.jit, static_argnums=4)
@functools.partial(jax.value_and_grad, has_aux=True)
def mask_and_gradient(corners, wanted, sigma_inverse, boxlen, chances_of):
    """Loss, mask, and gradient of the corners; compiled once for all widths."""
    mask = soft_mask(chances_of(corners, sigma_inverse), boxlen)
    return iou_loss(mask, wanted), mask


def compare(chances_of, sigma_inverse, boxlen, dtype, atol):
    hard = hard_mask()
    assert hard.sum() == 528
    shifted = np.pad(hard, ((0, 0), (0, 0), (0, 5)))[..., 5:]
    (value, mask), gradient = mask_and_gradient(
        jnp.asarray(CORNERS, dtype), jnp.asarray(shifted, dtype), jnp.asarray(sigma_inverse, dtype), boxlen, chances_of
    )
    assert (np.asarray(mask)[hard] == 1).all()
    found = mask.sum(), value, np.abs(gradient).sum(), np.abs(gradient).max()
    np.testing.assert_allclose(found, KEPT[sigma_inverse, boxlen], rtol=atol)
    np.testing.assert_allclose([gradient[0, 2], gradient[1, 0]], GRADIENTS[sigma_inverse, boxlen], atol=atol)


def chances_by_distance(corners, sigma_inverse):
    rows = triangle_table(corners.reshape(6, 6))
    x, y = (jnp.asarray(axis.reshape(-1), corners.dtype) for axis in (X, Y))
    distance = jax.vmap(lambda row: signed_squared_distance(row[:, None], x, y))(rows)
    return jnp.exp(-jnp.maximum(distance, 0.0) * sigma_inverse).reshape(2, 3, HEIGHT, WIDTH)


def chances_by_coverage(corners, sigma_inverse):
    # Kaolin's pixels, 2/31 wide and 2/35 high, are a part of the square ones of an image of 31 * 35 rows and columns.
    side, flat = HEIGHT * WIDTH, corners.reshape(6, 3, 2)
    rest = [jnp.zeros((6, 3, 1), flat.dtype), jnp.ones((6, 3, 1), flat.dtype)]
    options = dict(falloff="exponential", cutoff=1e-9)
    alpha = soft_coverage(jnp.concatenate([flat, *rest], axis=-1), ONE, (side, side), 1 / sigma_inverse, **options)
    return alpha[:, WIDTH // 2 :: WIDTH, HEIGHT // 2 :: HEIGHT].reshape(2, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize("sigma_inverse, boxlen", KEPT)
def test_distances_give_the_soft_mask_of_kaolin(float64, sigma_inverse, boxlen):
    compare(chances_by_distance, sigma_inverse, boxlen, np.float64, 1e-7)


@pytest.mark.parametrize("dtype, atol", [(np.float64, 1e-7), (np.float32, 1e-4)])
@pytest.mark.parametrize("sigma_inverse, boxlen", KEPT)
def test_soft_coverage_gives_the_soft_mask_of_kaolin(float64, sigma_inverse, boxlen, dtype, atol):
    compare(chances_by_coverage, sigma_inverse, boxlen, dtype, atol)


def test_mask_iou():
    """tests/python/kaolin/metrics/test_render.py: 0.3105."""
    first = np.ones((2, 4, 4))
    first[0] = [[0, 0.2, 0.1, 1], [0.5, 0.5, 0.9, 0.9], [0, 1, 1, 0.9], [0.8, 0.7, 0.2, 0.1]]
    second = [[[0.1, 0.3, 0.3, 0.9], [0.5, 0.5, 1, 0.3], [0, 0.9, 0.9, 0.8], [1, 1, 0, 0]]]
    second += [[[0.3, 0.6, 0.7, 0.7], [0.8, 0.9, 0.9, 1], [1, 0.9, 0.9, 0.5], [0.8, 0.7, 0.8, 0.5]]]
    np.testing.assert_allclose(1 - soft_iou(jnp.asarray(first), jnp.asarray(second)).mean(), 0.3105, atol=5e-5)
    np.testing.assert_allclose(iou_loss(first, np.array(second)), 0.3105, atol=5e-5)


# Of image_face_idx_*.png in tests/samples/rasterization: pixels of faces 0 and 1, and by row the first column and the
# number of pixels of face 0 and the number of those of face 1.
FACE_PIXELS = [(10320, 10192), (10336, 10176)]
FACE_ROWS = [
    {100: (283, 41, 101), 128: (255, 72, 70), 160: (223, 108, 35), 190: (193, 141, 1)},
    {60: (323, 12, 100), 100: (283, 47, 95), 128: (255, 72, 70), 160: (223, 101, 42), 190: (193, 127, 15)},
]


def test_faces_of_a_folded_square(float64):
    """Scene of tests/python/kaolin/render/mesh/test_rasterization.py. Its colours are interpolated without perspective,
    ours are not, so faces are what can be compared. The sides of the square run through 16 pixel centres each:
    at 32 of each face rounding decides."""
    z = np.array([[-1, 0, -1, 0], [0, -1, 0, -1]])
    square = np.broadcast_to([[-1, -1], [1, -1], [1, 1], [-1, 1]], (2, 4, 2))
    points = jnp.asarray(np.concatenate([square, z[..., None]], axis=-1), float)
    projection = np.broadcast_to([[1.25], [2.5], [-1.0]], (2, 3, 1))
    camera = from_kaolin(np.stack([np.eye(3)] * 2), np.array([[0.0, 0, 4]] * 2), projection)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    face_id = np.asarray(draw(camera.project(points), faces, (256, 512), cull_backfaces=True).face_id)
    for image, counts, rows in zip(face_id, FACE_PIXELS, FACE_ROWS):
        assert all(abs((image == face).sum() - count) <= 32 for face, count in enumerate(counts))
        for row, found in rows.items():
            first = np.flatnonzero(image[row] == 0)
            np.testing.assert_allclose((first[0], len(first), (image[row] == 1).sum()), found, atol=1)
