"""What a render keeps for its backward pass, and what it needs while it runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    FaceTexels,
    Fragments,
    Mesh,
    PerspectiveCamera,
    PhongLight,
    UVImage,
    VertexColours,
    barycentric_footprint,
    interpolate,
    rasterize,
    render,
    sample_face_texels,
    sample_texture,
    sample_uv,
    shade,
    soft_coverage,
)

# Compiling shows the arguments to their classes without their arrays.
pytestmark = pytest.mark.usefixtures("unchecked")
BATCH = 2


def floats(*shape):
    return np.zeros((BATCH, *shape), np.float32)


def arguments(faces, size):
    """Zeros: only shapes count here."""
    vertices = faces // 2 + 2
    return {
        "points": floats(vertices, 3),
        "faces": np.zeros((BATCH, faces, 3), np.int32),
        "camera": PerspectiveCamera(floats(3, 3), floats(3), floats(2), floats(2)),
        "vertex": VertexColours(floats(vertices, 3)),
        "texels": FaceTexels(floats(faces, 2, 2, 3)),
        "uv": UVImage(floats(16, 16, 3), floats(faces, 3, 2), max_level=None),
        "light": PhongLight(floats(3), floats(3), floats(3), floats(3), floats()),
        "background": floats(*size, 3),
        "fragments": Fragments(
            np.zeros((BATCH, *size), np.int32), floats(*size, 3), floats(*size)
        ),
        "normal": floats(*size, 3),
        "places": floats(*size, 2),
        "level": floats(*size),
        "footprint": floats(*size, 3, 2),
    }  # fmt: skip


def picture(blending, texture, x):
    return render(
        Mesh(x["points"], x["faces"]), x["camera"], x["background"].shape[1:3], texture=x[texture], blending=blending,
        light=x["light"], background=x["background"], sigma=1e-4,
    )  # fmt: skip


def on_clip(function, x, *rest, **options):
    return function(x["camera"].project(x["points"]), x["faces"], x["background"].shape[1:3], *rest, **options)


RENDERS = {
    f"{blending} {texture}": functools.partial(picture, blending, texture)
    for blending, texture in [
        ("softmax", "vertex"), ("softmax", "texels"), ("layered", "texels"), ("layered", "uv"), ("hard", "vertex"),
        ("hard", "uv"), ("antialias", "texels"), ("antialias", "uv"),
    ]
} | {
    "rasterize": functools.partial(on_clip, rasterize),
    "three layers": lambda x: on_clip(rasterize, x, layers=3),
    "sigmoid": lambda x: on_clip(soft_coverage, x, 1e-4),
    "exponential": lambda x: on_clip(soft_coverage, x, 1e-4, falloff="exponential"),
}  # fmt: skip
LOOKUPS = {
    "interpolate": lambda x: interpolate(x["fragments"], x["points"], x["faces"]),
    "sample_face_texels": lambda x: sample_face_texels(x["texels"].values, x["fragments"]),
    "sample_texture": lambda x: sample_texture(x["uv"], x["faces"], x["fragments"], x["footprint"]),
    "sample_uv": lambda x: sample_uv(x["uv"].image, x["places"], level=x["level"]),
    "barycentric_footprint": lambda x: barycentric_footprint(
        x["camera"].project(x["points"]), x["faces"], x["fragments"]
    ),
    "shade": lambda x: shade(x["light"], x["normal"], x["background"], x["normal"]),
}


def saved_bytes(function, x):
    """Bytes between the forward and the backward pass in arrays that are neither arguments nor results."""

    # Integers, and what they address, have no gradient.
    moving = {name: value for name, value in x.items() if name not in ("faces", "fragments")}
    fixed = {name: x[name] for name in ("faces", "fragments")}

    def forward(moving, fixed):
        def of_moving(moving):
            fragments = fixed["fragments"]._replace(barycentric=moving["normal"])
            return function(moving | {"faces": fixed["faces"], "fragments": fragments})

        results, pull = jax.vjp(of_moving, moving)
        return results, jax.tree.leaves(pull)

    program, (results, _) = jax.make_jaxpr(forward, return_shape=True)(moving, fixed)
    known = {*program.jaxpr.invars, *program.jaxpr.outvars[: len(jax.tree.leaves(results))]}
    saved = {v for v in program.jaxpr.outvars if isinstance(v, type(program.jaxpr.invars[0])) and v not in known}
    return sum(v.aval.size * v.aval.dtype.itemsize for v in saved)


@pytest.mark.parametrize("name", [*RENDERS, *LOOKUPS])
def test_at_most_sixteen_bytes_of_a_pixel_are_saved(name):
    function, sizes = (RENDERS | LOOKUPS)[name], ((20, 24), (50, 60))
    small, large = (saved_bytes(function, arguments(40, size)) for size in sizes)
    # The difference takes away what is saved of faces.
    pixels = BATCH * (np.prod(sizes[1]) - np.prod(sizes[0]))
    # Besides, the centres of one row and one column of pixels may be kept, whatever the number of images.
    row_and_column = 4 * (sum(sizes[1]) - sum(sizes[0]))
    assert large - small <= 16 * pixels + row_and_column
    # Without faces x pixels: more faces save the same of each pixel.
    many = [saved_bytes(function, arguments(400, size)) for size in sizes]
    assert many[1] - many[0] == large - small


@pytest.mark.parametrize("name", ["softmax texels", "layered uv", "antialias uv", "three layers", "sigmoid"])
def test_no_array_has_faces_times_pixels(name):
    """What the forward and backward program needs besides arguments and results is linear in faces and in pixels."""
    faces, size = 100_000, (300, 400)

    def loss(x, fixed):
        results = RENDERS[name](x | fixed)
        numbers = [leaf for leaf in jax.tree.leaves(results) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return sum(jnp.sum(jnp.cos(leaf)) for leaf in numbers)

    x = arguments(faces, size)
    used = ("points", "camera", "vertex", "texels", "uv", "light", "background")
    compiled = jax.jit(jax.grad(loss)).lower({k: x[k] for k in used}, {"faces": x["faces"]}).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    # One chunk, and at most 2 kB of a face and of a pixel. An array over faces and pixels would have 24e9 entries: this
    # is less than a twentieth of a byte for each of them.
    assert 0 < temporary < 2**25 + 2000 * BATCH * (faces + np.prod(size))
