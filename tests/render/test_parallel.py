import re

import jax
import jax.numpy as jnp
import numpy as np

from render import FaceTexels, Mesh, batch_parallel, icosphere, orbit, render, soft_coverage

COLLECTIVES = re.compile(r"(all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)")


def scene(batch):
    vertices, faces = icosphere(0)
    rng = np.random.default_rng(0)
    points = jnp.asarray(0.5 * vertices[None] + 0.05 * rng.normal(size=(batch, 12, 3)), jnp.float32)
    texels = jnp.asarray(rng.random((batch, 20, 2, 2, 3)), jnp.float32)
    return points, texels, jnp.linspace(0, 6, batch), faces


def spread(tree, device_mesh):
    return jax.device_put(tree, jax.sharding.NamedSharding(device_mesh, jax.sharding.PartitionSpec("data")))


def test_eight_devices_share_a_batch_without_a_word():
    points, texels, azimuth, faces = scene(8)
    device_mesh = jax.make_mesh((8,), ("data",))

    def pictures(points, texels, azimuth):
        camera = orbit(2.7, 0.4, azimuth, 0.5)
        clip = camera.project(points)
        picture = render(Mesh(points, faces), camera, (9, 12), texture=FaceTexels(texels), sigma=1e-3, gamma=1e-3)
        return picture.rgb, picture.alpha + soft_coverage(clip, faces, (9, 12), 1e-3)

    def gradient(function):
        def loss(points, texels, azimuth):
            rgb, alpha = function(points, texels, azimuth)
            return (rgb * jnp.cos(rgb)).sum() + alpha.sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1)))

    arguments = spread((points, texels, azimuth), device_mesh)
    parallel = gradient(batch_parallel(pictures, device_mesh))
    program = parallel.lower(*arguments).compile().as_text()
    assert "num_partitions=8" in program and not COLLECTIVES.findall(program)
    shares = parallel(*arguments)
    for leaf in jax.tree.leaves(shares):
        assert len(leaf.sharding.device_set) == 8
    for one, eight in zip(jax.tree.leaves(gradient(pictures)(points, texels, azimuth)), jax.tree.leaves(shares)):
        np.testing.assert_allclose(eight, one, rtol=1e-4, atol=1e-5 * np.abs(one).max())
