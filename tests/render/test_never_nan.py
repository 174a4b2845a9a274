"""No input of finite numbers gives a value or a gradient that is not finite: a hundred thousand bad triangles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    FaceTexels,
    Mesh,
    PerspectiveCamera,
    PhongLight,
    SphericalHarmonicsLight,
    UVImage,
    VertexColours,
    WeakPerspectiveCamera,
    rasterize,
    render,
    soft_coverage,
)

# Few faces in an image: hidden ones, and those where others already cover all, would get no gradient.
BATCH, FACES, ROUNDS = 5000, 5, 4
TRIANGLES = np.arange(3 * FACES, dtype=np.int32).reshape(FACES, 3)
SIZE = (4, 5)
KINDS = 25


def adversarial_corners(seed, dtype=jnp.float32):
    """Corners `[b, 3 f, 4]` (x, y, z, w) of everything that has ever broken a rasterizer, as many of each kind.

    An image has five kinds next to each other.
    """
    rng = np.random.default_rng(seed)
    of_kind = BATCH * FACES // KINDS
    corners = rng.normal(size=(of_kind, KINDS, 3, 4)) * [1, 1, 1, 0.3] + [0, 0, 0, 1.5]
    kinds = [corners[:, kind] for kind in range(KINDS)]
    kinds[1][:] *= 1e-3  # smaller than a pixel, near the camera
    kinds[2][:, 1] = kinds[2][:, 0]  # no area: two corners are one
    kinds[3][:, 1:] = kinds[3][:, :1]  # no area: one point
    kinds[4][:, 2] = 0.5 * (kinds[4][:, 0] + kinds[4][:, 1])  # no area: a line
    kinds[5][..., 3] *= -1  # behind the camera
    kinds[6][:, 0, 3] *= -1  # across its plane
    kinds[7][..., 3] = 0  # on its plane
    kinds[8][:, 1, 3] = 0  # one corner on its plane
    kinds[9][:, 1, 3] = 1e-30  # one corner almost there
    kinds[10][:] *= 10.0 ** rng.uniform(-30, 18, size=(of_kind, 3, 1))  # every corner of its own size
    kinds[11][..., :2] *= 1e6  # far off the screen
    kinds[12][:] *= 1e6
    kinds[13][:] *= 1e-20
    kinds[14][:] *= 1e15
    kinds[15][:] = np.round(kinds[15] * 4) / 4  # edges and corners at pixel centres, equal depths
    kinds[16][:] = kinds[15]  # the same faces again
    # Edge-on up to rounding: on a plane through the camera.
    kinds[17][..., 1] = 0.3 * kinds[17][..., 0] + 0.1 * kinds[17][..., 3]
    kinds[18][..., 3] = 1.0  # all depths equal
    kinds[19][:] = 0.0
    kinds[20][:] *= 1e25
    kinds[21][:] *= 1e30
    kinds[22][:] *= 1e34
    kinds[23][:] *= 10.0 ** rng.uniform(-30, 38, size=(of_kind, 3, 1))
    kinds[24][:] = rng.uniform(-3e38, 3e38, size=(of_kind, 3, 4))  # as large as there are, and of either sign
    corners = np.clip(corners, -3e38, 3e38)
    return jnp.asarray(corners.reshape(BATCH, 3 * FACES, 4), dtype)


def check(results):
    for path, leaf in jax.tree_util.tree_leaves_with_path(results):
        bad = ~np.isfinite(np.asarray(leaf, np.float64))
        assert not bad.any(), (
            f"{jax.tree_util.keystr(path)}: {bad.sum()} bad numbers, the first at {np.argwhere(bad)[0]}"
        )


@jax.jit
def hard_and_soft(clip):
    """Values and gradients of the two functions on clip space."""

    def loss(clip):
        fragments = rasterize(clip, TRIANGLES, SIZE)
        alpha = soft_coverage(clip, TRIANGLES, SIZE, 1e-2)
        return alpha.sum() + fragments.depth.sum() + (fragments.barycentric**2).sum(), (fragments, alpha)

    return jax.value_and_grad(loss, has_aux=True)(clip)


def perspective():
    """The identity: clip x, y, w of a point are its x, y, -z."""
    lens = jnp.ones((BATCH, 2))
    return PerspectiveCamera(jnp.broadcast_to(jnp.eye(3), (BATCH, 3, 3)), jnp.zeros((BATCH, 3)), lens, 0 * lens)


def weak_perspective():
    quaternion = jnp.broadcast_to(jnp.eye(4)[:1], (BATCH, 4))
    return WeakPerspectiveCamera(jnp.ones(BATCH), jnp.zeros((BATCH, 2)), quaternion)


def materials(dtype):
    """Textures and lights by name."""
    rng = np.random.default_rng(9)

    def random(*shape):
        return jnp.asarray(rng.random((BATCH, *shape)), dtype)

    def direction():
        return jnp.asarray(rng.normal(size=(BATCH, 3)), dtype)

    texels, colours = FaceTexels(random(FACES, 2, 2, 3)), VertexColours(random(3 * FACES, 3))
    image = UVImage(random(6, 8, 3), 3 * random(FACES, 3, 2) - 1, max_level=None)
    glossy = PhongLight(direction(), random(3), random(3), random(3), 1 + 9 * random())
    return {
        "texels": (texels, glossy),
        "vertex": (colours, SphericalHarmonicsLight(random(9, 3))),
        "uv": (image, glossy),
    }


@functools.partial(jax.jit, static_argnums=0)
def pictures(blending, points, texture, camera, light):
    """Values and gradients of a picture of the points."""

    def loss(points, texture, camera, light):
        options = dict(texture=texture, light=light, blending=blending, sigma=1e-2, gamma=1e-3)
        picture = render(Mesh(points, TRIANGLES), camera, SIZE, **options)
        return (picture.rgb**2).sum() + picture.alpha.sum() + picture.depth.sum(), picture

    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(points, texture, camera, light)


@pytest.mark.parametrize("dtype, rounds", [("float32", ROUNDS), ("bfloat16", 1)])
def test_rasterize_and_soft_coverage(dtype, rounds):
    for seed in range(rounds):
        results = hard_and_soft(adversarial_corners(seed, dtype))
        check(results)
        (_, (fragments, alpha)), gradient = results
        assert np.asarray(alpha).min() >= 0 and np.asarray(alpha).max() <= 1
        # That nothing is wrong must not be because nothing is drawn. In a fifth of the images faces are too large.
        assert (np.asarray(fragments.face_id) >= 0).mean() > 0.2 and np.abs(gradient).max() > 0


# Three rounds of each rule, each with the texture named. Softmax lights the corners and has no images; layers are
# coloured beside faces, by interpolation that vertex colours and images share; the hard picture has all; antialiasing
# blends it with itself, whatever its colours are made of. The other camera and the other dtype change what comes before
# the blending, so each is tried with one rule.
CASES = [
    ("softmax", perspective, "float32", ("texels", "vertex", "vertex")),
    ("layered", perspective, "float32", ("texels", "uv", "uv")),
    ("hard", perspective, "float32", ("texels", "vertex", "uv")),
    ("antialias", perspective, "float32", ("vertex", "vertex", "vertex")),
    ("softmax", weak_perspective, "float32", ("texels",)),
    ("hard", perspective, "bfloat16", ("texels",)),
]


@pytest.mark.parametrize("blending, camera, dtype, kinds", CASES)
def test_pictures(blending, camera, dtype, kinds):
    for seed, (texture, light) in enumerate(materials(dtype)[kind] for kind in kinds):
        corners = adversarial_corners(seed, dtype)
        points = jnp.stack([corners[..., 0], corners[..., 1], -corners[..., 3]], axis=-1)
        results = pictures(blending, points, texture, camera(), light)
        check(results)
        assert np.asarray(results[0][1].alpha).max() <= 1 and np.abs(results[1][0]).max() > 0
