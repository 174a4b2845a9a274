import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    DirectionalLight,
    FaceTexels,
    Mesh,
    UVImage,
    VertexColours,
    batch_parallel,
    icosphere,
    interpolate,
    orbit,
    rasterize,
    render,
    soft_coverage,
)

COLLECTIVES = re.compile(r"(all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)")


def scene(batch):
    vertices, faces = icosphere(0)
    rng = np.random.default_rng(0)
    points = jnp.asarray(0.5 * vertices[None] + 0.05 * rng.normal(size=(batch, 12, 3)), jnp.float32)
    texels = jnp.asarray(rng.random((batch, 20, 2, 2, 3)), jnp.float32)
    return points, texels, jnp.linspace(0, 6, batch), faces


def spread(tree, device_mesh):
    return jax.device_put(tree, jax.sharding.NamedSharding(device_mesh, jax.sharding.PartitionSpec("data")))


SIZE = (9, 12)


def picture(blending, kind, x):
    texture = {
        "vertex": lambda: VertexColours(x["points"] + 0.5),
        "texels": lambda: FaceTexels(x["texels"]),
        "uv": lambda: UVImage(x["image"], x["texels"][:, :, 0, :, :2].repeat(2, axis=2)[:, :, :3], max_level=None),
    }[kind]()
    camera, light = orbit(2.7, 0.4, x["azimuth"], 0.5), DirectionalLight(x["light"], x["light"], x["light"])
    options = dict(texture=texture, light=light, blending=blending, background=x["background"], sigma=1e-3, gamma=1e-3)
    return render(Mesh(x["points"], x["faces"]), camera, SIZE, **options)


def fragments(x):
    clip, faces = orbit(2.7, 0.4, x["azimuth"], 0.5).project(x["points"]), x["faces"]
    layers = rasterize(clip, faces, SIZE, layers=3)
    return (
        layers,
        interpolate(layers, x["points"], faces),
        soft_coverage(clip, faces, SIZE, 1e-3, falloff="exponential"),
    )


FUNCTIONS = {
    "softmax": lambda x: picture("softmax", "texels", x),
    "layered": lambda x: picture("layered", "uv", x),
    "hard": lambda x: picture("hard", "uv", x),
    "antialias": lambda x: picture("antialias", "vertex", x),
    "fragments": fragments,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_device_draws_its_images_alone(name):
    """No collective forward and backward; and one image on a device is the same as that image in a batch.

    Up to rounding: a batch is walked in other chunks than its images, so sums have another order.
    """
    points, texels, azimuth, faces = scene(8)
    rng = np.random.default_rng(1)
    image, background, light = (rng.random(shape) for shape in ((8, 6, 5, 3), (8, *SIZE, 3), (8, 3)))
    floats = jax.tree.map(
        lambda value: jnp.asarray(value, jnp.float32),
        dict(points=points, texels=texels, azimuth=azimuth, image=image, background=background, light=light),
    )
    faces = jnp.broadcast_to(jnp.asarray(faces), (8, *faces.shape))
    device_mesh = jax.make_mesh((8,), ("data",))

    def program(function):
        def loss(floats, faces):
            results = function(floats | {"faces": faces})
            numbers = [leaf for leaf in jax.tree.leaves(results) if jnp.issubdtype(leaf.dtype, jnp.floating)]
            # Each device its own share of the loss: their sum would be a collective of the test.
            return sum(jnp.cos(3.0 * leaf).reshape(8, -1).sum(axis=1) for leaf in numbers), results

        def gradient(floats, faces):
            losses, pull, results = jax.vjp(lambda floats: loss(floats, faces), floats, has_aux=True)
            return pull(jnp.ones_like(losses))[0], results

        return jax.jit(gradient)

    arguments = spread((floats, faces), device_mesh)
    parallel = program(batch_parallel(FUNCTIONS[name], device_mesh)).lower(*arguments).compile()
    text = parallel.as_text()
    assert "num_partitions=8" in text and not COLLECTIVES.findall(text)
    eight, one = parallel(*arguments), program(FUNCTIONS[name])(floats, faces)
    for (path, many), single in zip(jax.tree_util.tree_leaves_with_path(eight), jax.tree.leaves(one)):
        assert len(many.sharding.device_set) == 8
        where, scale = jax.tree_util.keystr(path), np.abs(single).max()
        if jnp.issubdtype(single.dtype, jnp.integer):
            np.testing.assert_array_equal(many, single, err_msg=where)
        else:
            np.testing.assert_allclose(many, single, rtol=1e-4, atol=1e-5 * scale, err_msg=where)
