"""Everything of the renderer under the transformations of jax: jit, grad, vmap, checkpoint, donation, short floats.

One program of value and gradient of each function is the measure; the transformed programs have to agree with it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    DirectionalLight,
    FaceTexels,
    Fragments,
    Mesh,
    PhongLight,
    SphericalHarmonicsLight,
    UVImage,
    VertexColours,
    icosphere,
    interpolate,
    orbit,
    rasterize,
    render,
    sample_uv,
    soft_coverage,
)

# Under `vmap` lights and cameras have one axis more than they say.
pytestmark = pytest.mark.usefixtures("unchecked")

SIZE, FACES = (9, 11), icosphere(0)[1]


def arguments(seed=0, batch=2, size=0.5):
    """Floats for all of the functions; the same structure for every seed."""
    rng = np.random.default_rng(seed)

    def random(*shape):
        return jnp.asarray(rng.random((batch, *shape)), jnp.float32)

    return {
        "points": jnp.asarray(size * (icosphere(0)[0] + 0.1 * rng.normal(size=(batch, 12, 3))), jnp.float32),
        "camera": orbit(2.5 + random(), random(), 6.0 * random(), 0.5 + 0.1 * random()),
        "colours": random(12, 3),
        "texels": random(len(FACES), 2, 2, 3),
        "image": random(6, 5, 3),
        "other_image": random(6, 5, 3),
        "uv": 2.0 * random(len(FACES), 3, 2),
        "sun": DirectionalLight(random(3), random(3), random(3)),
        "glossy": PhongLight(random(3), random(3), random(3), random(3), 2.0 + random()),
        "sky": SphericalHarmonicsLight(random(9, 3)),
        "background": random(*SIZE, 3),
        "places": 2.0 * random(4, 5, 2),
        "other_places": 2.0 * random(4, 5, 2),
        "level": 2.0 * random(4, 5),
        "weights": random(4, 5, 3),
        "sigma": jnp.asarray(1e-3 * (1 + rng.random()), jnp.float32),
        "gamma": jnp.asarray(1e-3 * (1 + rng.random()), jnp.float32),
    }


def texture_of(x, kind):
    if kind == "uv":
        return UVImage(x["image"], x["uv"], max_level=None)
    return VertexColours(x["colours"]) if kind == "vertex" else FaceTexels(x["texels"])


def picture(blending, kind, light, x):
    return render(
        Mesh(x["points"], FACES), x["camera"], SIZE, texture=texture_of(x, kind), light=x.get(light), blending=blending,
        background=x["background"], sigma=x["sigma"], gamma=x["gamma"],
    )  # fmt: skip


def clip(x):
    return x["camera"].project(x["points"])


def fragments_of(x):
    face_id = (10 * x["places"][..., 0].astype(jnp.float32)).astype(jnp.int32) - 1
    return Fragments(face_id, x["weights"], x["level"])


def both(clip, function, options):
    """Two results of one argument: gradients of short floats are rounded once, after they are added."""
    return tuple(function(clip, option) for option in options)


FUNCTIONS = {
    "softmax": functools.partial(picture, "softmax", "texels", "sun"),
    "layered": functools.partial(picture, "layered", "texels", None),
    "hard": functools.partial(picture, "hard", "vertex", "glossy"),
    "antialias": functools.partial(picture, "antialias", "uv", None),
    "rasterize": lambda x: both(clip(x), lambda clip, layers: rasterize(clip, FACES, SIZE, layers=layers), (None, 3)),
    "soft_coverage": lambda x: both(
        clip(x),
        lambda clip, falloff: soft_coverage(clip, FACES, SIZE, x["sigma"], falloff=falloff),
        ("sigmoid", "exponential"),
    ),
    "lookups": lambda x: (
        interpolate(fragments_of(x), x["points"], FACES),
        sample_uv(x["image"], x["places"]),
        sample_uv(x["other_image"], x["other_places"], level=x["level"], wrap="clamp"),
    ),
}
NAMES = list(FUNCTIONS)


def loss_of(function, x):
    """A number that depends on all floats of all results, and the results."""
    results = function(x)
    floats = [leaf for leaf in jax.tree.leaves(results) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return sum(jnp.sum(jnp.cos(3.0 * leaf + i)) for i, leaf in enumerate(floats)), results


@functools.cache
def program(name):
    """Value and gradient, compiled once for all tests."""
    return jax.jit(jax.value_and_grad(functools.partial(loss_of, FUNCTIONS[name]), has_aux=True))


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def check_close(found, expected):
    for (path, one), two in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected)):
        where, two = jax.tree_util.keystr(path), np.asarray(two)
        if np.issubdtype(two.dtype, np.integer):
            np.testing.assert_array_equal(one, two, err_msg=where)
        else:
            np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-5 * max(np.abs(two).max(), 1e-3), err_msg=where)


def check_same(found, expected):
    for (path, one), two in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(one, two, err_msg=jax.tree_util.keystr(path))


@functools.cache
def two_calls(name):
    """Two batches of different sizes on the screen, so that one has more to walk than the other; and their results."""
    calls = [arguments(seed, size=size) for seed, size in ((1, 0.2), (2, 0.7))]
    return stacked(*calls), stacked(*(program(name)(x) for x in calls))


# Those that are made of the others take as long to compile, and are seen by `-m slow`.
MADE_OF_OTHERS = ("antialias", "rasterize", "lookups")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in MADE_OF_OTHERS else name for name in NAMES]
)
def test_vmap_of_the_gradient_of_a_checkpoint_is_the_stack(name):
    many, expected = two_calls(name)
    function = jax.jit(jax.checkpoint(FUNCTIONS[name]))  # nested in another jit
    gradients = jax.jit(jax.vmap(jax.value_and_grad(functools.partial(loss_of, function), has_aux=True)))
    check_close(gradients(many), expected)


# The functions whose gradients are written by hand; the others are made of them.
@pytest.mark.parametrize("name", ["softmax", "layered", "soft_coverage"])
def test_gradient_of_the_vmap_is_the_stack(name):
    many, ((_, results), gradients) = two_calls(name)

    def total(many):
        losses, results = jax.vmap(functools.partial(loss_of, FUNCTIONS[name]))(many)
        return losses.sum(), results

    (_, found), found_gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(many)
    check_close(found, results)
    check_close(found_gradients, gradients)


@pytest.mark.parametrize("name", NAMES)
def test_new_values_compile_nothing_and_runs_repeat_to_the_bit(name):
    function = program(name)
    first = function(arguments(3))
    compiled = function._cache_size()
    for seed in (4, 5):
        function(arguments(seed, size=0.6))
    assert function._cache_size() == compiled
    check_same(function(arguments(3)), first)
    again = jax.jit(jax.value_and_grad(functools.partial(loss_of, FUNCTIONS[name]), has_aux=True))
    check_same(again(arguments(3)), first)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))


ALONE = {name: FUNCTIONS[name] for name in ("softmax", "layered", "hard", "antialias")}
ALONE["rasterize"] = lambda x: rasterize(jnp.concatenate([x["points"], x["points"][..., :1]], axis=-1), FACES, SIZE)
ALONE["soft_coverage"] = lambda x: soft_coverage(x["colours"][..., [0, 1, 2, 0]], FACES, SIZE, x["sigma"])


@pytest.mark.parametrize("name", ALONE)
def test_a_call_outside_of_jit_is_one_program(name):
    """Each equation would be a program of its own: there are the work, and a few that bring arguments into shape."""
    equations = jax.make_jaxpr(ALONE[name])(arguments()).eqns
    work = [equation for equation in equations if len(getattr(equation.params.get("jaxpr"), "eqns", ())) > 20]
    assert len(work) == 1 and len(equations) < 12, [equation.primitive.name for equation in equations]


def test_numbers_of_python_compile_nothing_new():
    """sigma, gamma and the colour of the background as plain numbers, faces as a new array of the same content."""
    traces = []

    @jax.jit
    def draw(mesh, colours, background, sigma, gamma):
        traces.append(1)
        camera = orbit(np.full(2, 2.5), 0.3, 0.4, 0.5)
        options = dict(texture=VertexColours(colours), background=background, sigma=sigma, gamma=gamma)
        return render(mesh, camera, (3, 4), blending="softmax", **options)

    x = arguments()
    for number in (1.0, 2.0, 3.0):
        draw(Mesh(number * x["points"], FACES.copy()), x["colours"], (number, 0.1, 0.2), 1e-4 * number, 1e-3 * number)
    assert len(traces) == 1


def test_donated_arrays_are_given_away():
    name = "soft_coverage"

    @functools.partial(jax.jit, donate_argnums=0)
    def step(points, x):
        gradient = jax.grad(lambda points: loss_of(FUNCTIONS[name], x | {"points": points})[0])(points)
        return points - 0.01 * gradient

    x = arguments()
    given, expected = jnp.array(x["points"]), x["points"] - 0.01 * program(name)(x)[1]["points"]
    check_close(step(given, x), expected)
    assert given.is_deleted()


# What moves numbers and rounds none of them.
MOVES = {
    "broadcast_in_dim", "concatenate", "copy", "dynamic_slice", "gather", "pad", "reshape", "select_n", "slice",
    "split", "squeeze", "stop_gradient", "transpose",
}  # fmt: skip


def operations_on(dtype, program):
    """Names of the operations, in a program and in those inside of it, that compute with a dtype or round to it."""
    for equation in program.eqns:
        inside = [getattr(part, "jaxpr", part) for part in jax.tree.leaves(list(equation.params.values()))]
        inside = [part for part in inside if hasattr(part, "eqns")]
        for part in inside:
            yield from operations_on(dtype, part)
        name, ways = equation.primitive.name, (equation.invars, equation.outvars)
        read, written = (any(v.aval.dtype == dtype for v in variables) for variables in ways)
        # The transpose of a new axis of length one adds nothing.
        alone = name == "reduce_sum" and equation.invars[0].aval.size == equation.outvars[0].aval.size
        moves = name in MOVES or alone
        if not inside and not moves and (written or (read and name != "convert_element_type")):
            yield name


# Lookups add short gradients of different places, which is exact: the test after this one is for them.
@pytest.mark.parametrize(
    "name, dtype", [*((name, "bfloat16") for name in NAMES if name != "lookups"), ("rasterize", "float16")]
)
def test_short_floats_are_computed_in_single_precision(name, dtype):
    """They are converted before anything is computed, and gradients are rounded once, after they are added."""
    short = jax.tree.map(lambda leaf: leaf.astype(dtype), arguments(6))
    assert list(operations_on(jnp.dtype(dtype), jax.make_jaxpr(FUNCTIONS[name])(short).jaxpr)) == []
    both = jax.value_and_grad(functools.partial(loss_of, FUNCTIONS[name]), has_aux=True)
    program, ((_, results), gradients) = jax.make_jaxpr(both, return_shape=True)(short)
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(results))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(gradients))
    rounded = list(operations_on(jnp.dtype(dtype), program.jaxpr))
    assert set(rounded) == {"convert_element_type"} and len(rounded) <= len(jax.tree.leaves(short)), rounded


@pytest.mark.parametrize("name, dtype", [("lookups", "bfloat16"), ("rasterize", "float16")])
def test_short_floats_give_what_single_precision_gives(name, dtype):
    """The results are those of the same values in float32, and their gradients rounded.

    Up to the last bit of a float32: two programs need not contract the same sums into multiply-adds.
    """
    short = jax.tree.map(lambda leaf: leaf.astype(dtype), arguments(6))
    (value, results), gradients = program(name)(short)
    (same_value, same_results), same_gradients = program(name)(jax.tree.map(lambda x: x.astype(jnp.float32), short))
    for one, two in zip(jax.tree.leaves((value, results)), jax.tree.leaves((same_value, same_results))):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    for one, two in zip(jax.tree.leaves(gradients), jax.tree.leaves(same_gradients)):
        one, scale = np.asarray(one, np.float32), np.abs(two).max()
        np.testing.assert_allclose(one, two, rtol=0.51 * float(jnp.finfo(dtype).eps), atol=1e-5 * scale)


SOFT = ("softmax", "layered", "soft_coverage")


@pytest.mark.parametrize(
    "name", [*SOFT, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name not in SOFT)]
)
def test_forward_mode_agrees_with_reverse_mode(name):
    """The slope along a move is the gradient times the move; `-m slow` sees those whose derivatives are jax's own."""
    x, rng = arguments(), np.random.default_rng(0)
    moves = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), x)
    moves |= {"sigma": 0.0 * x["sigma"], "gamma": 0.0 * x["gamma"]}

    @jax.jit
    def slope(x, moves):
        return jax.jvp(lambda x: loss_of(FUNCTIONS[name], x)[0], (x,), (moves,))[1]

    terms = [np.vdot(g, m) for g, m in zip(*map(jax.tree.leaves, (program(name)(x)[1], moves)))]
    np.testing.assert_allclose(slope(x, moves), np.sum(terms), rtol=1e-4, atol=1e-4 * np.abs(terms).max())


@pytest.mark.parametrize("name", ["softmax", "layered", "hard", "antialias"])
def test_every_blending_has_a_jacobian_by_the_camera(name):
    """Traced alone: where a rule for forward mode is missing, jax says so before anything is compiled."""
    x = arguments()
    jacobian = jax.eval_shape(jax.jacfwd(lambda camera: FUNCTIONS[name](x | {"camera": camera}).rgb), x["camera"])
    assert jacobian.rotation.shape == (2, *SIZE, 3, *x["camera"].rotation.shape)


def test_jacobian_of_a_silhouette_by_a_camera(float64):
    """What a Gauss-Newton step wants: one number in, a picture out, against central differences."""
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), arguments())

    @jax.jit
    def cover(distance):
        clip = orbit(jnp.full(2, distance), 0.3, 0.4, 0.5).project(x["points"])
        return soft_coverage(clip, FACES, SIZE, 1e-2, cutoff=1e-12)

    jacobian = jax.jacfwd(cover)(2.5)
    assert np.abs(jacobian).max() > 0.1
    np.testing.assert_allclose(jacobian, (cover(2.5 + 1e-5) - cover(2.5 - 1e-5)) / 2e-5, atol=1e-7)


@pytest.mark.parametrize("name", [*SOFT, "hard"])
def test_second_derivatives_are_refused_in_words(name):
    x = arguments()
    with pytest.raises(NotImplementedError, match="no second derivatives .* jax.jacfwd"):
        jax.eval_shape(jax.hessian(lambda points: loss_of(FUNCTIONS[name], x | {"points": points})[0]), x["points"])


@pytest.mark.slow
def test_second_derivatives_of_antialiasing(float64):
    """It has no soft border: how the gradient changes along a move, against central differences."""
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), arguments())
    move = jnp.asarray(np.random.default_rng(0).normal(size=x["points"].shape))

    @jax.jit
    def gradient(points):
        return jax.grad(lambda points: loss_of(FUNCTIONS["antialias"], x | {"points": points})[0])(points)

    change = jax.jit(lambda points: jax.jvp(gradient, (points,), (move,))[1])(x["points"])
    assert np.abs(change).max() > 0.1
    step = 1e-6 * move
    difference = (gradient(x["points"] + step) - gradient(x["points"] - step)) / 2e-6
    np.testing.assert_allclose(change, difference, atol=1e-4 * np.abs(change).max())


def test_known_faces_are_checked_inside_of_jit():
    """Faces of each mesh, known while a function is traced that closes over them."""
    x = arguments()
    faces = jnp.broadcast_to(jnp.asarray(FACES), (2, *FACES.shape))

    def draw(faces):
        return jax.jit(lambda points: rasterize(x["camera"].project(points), faces, SIZE).face_id)(x["points"])

    np.testing.assert_array_equal(draw(faces), draw(FACES))
    with pytest.raises(ValueError, match="faces name vertices"):
        draw(faces + 1)
