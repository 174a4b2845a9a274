"""Parameters, moments, batch and activations on eight fake devices: where they lie, and that nothing else changes."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from ast_jax.data.pipeline import DataSource, make_batches
from ast_jax.losses.views import ViewSettings, render_views
from ast_jax.model.axes import placing
from ast_jax.model.projection import look, projected_texels
from ast_jax.model.synthesis import Evidence, synthesize
from ast_jax.training.program import make_program
from ast_jax.training.sharding import Layout, local_rows, make_layout, make_mesh
from benchmarks.collectives import count_by_kind, find_collectives
from render import icosphere, orbit

GOLDEN = Path(__file__).with_name("golden_shardings.json")
# The third says of the axis "model" what the second one says.
MESHES = ((8, 1), (4, 2), pytest.param((1, 8), marks=pytest.mark.slow))


@pytest.fixture
def wide(config):
    """Eight heads, so that each of eight devices can have one."""
    config.model.dim, config.model.heads = 32, 8
    config.model.num_keypoints = 2
    config.optimizer.name, config.optimizer.ema_decay = "muon", 0.9
    config.stage.joint.losses.keypoint = 1.0
    return config


def _program(config, sizes: tuple[int, int], *, abstract: bool = False):
    config.mesh = (("data", sizes[0]), ("model", sizes[1]))
    return make_program(config, make_layout(config, jax.devices()[: sizes[0] * sizes[1]]), abstract=abstract)


def _batches(config):
    source = DataSource(config.data.root, "train", config.data)
    return make_batches(source, config.data, batch_size=config.batch_size, seed=0)


_made = {}  # several tests look at the same steps, each of which takes half a minute to compile


def _steps(config, sizes: tuple[int, int]) -> tuple[list[float], object, object]:
    """Losses of five steps without texture, the state after them, and the program."""
    # The whole model on many devices: test_eight_devices_give_the_loss_of_one.
    config.model.texture.kind = "none"
    if sizes not in _made:
        program, batches, losses = _program(config, sizes), _batches(config), []
        state, stage = program.first_state, program.stages[0]
        for number in range(5):
            batch = jax.device_put(next(batches), program.layout.by_batch)
            state, metrics = program.step(stage, number)(state, batch, program.values[stage.name])
            losses.append(float(metrics["loss"]))
        _made[sizes] = losses, state, program
    return _made[sizes]


@pytest.mark.parametrize("sizes", MESHES)
def test_every_mesh_gives_the_losses_of_one_device(wide, sizes):
    losses, state, program = _steps(wide, sizes)
    np.testing.assert_allclose(losses, _steps(wide, (1, 1))[0], rtol=1e-5)
    # Nothing of the state has moved on the devices: moments and averages lie where their parameters do.
    for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(program.shardings), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


def _rest(program):
    return jax.tree.leaves((program.shardings.opt_state, program.shardings.average))


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("fully_sharded", [False, True])
def test_moments_and_averages_lie_where_their_parameters_do(wide, name, fully_sharded):
    wide.optimizer.name, wide.sharding.fully_sharded = name, fully_sharded
    program = _program(wide, (4, 2), abstract=True)
    state = program.first_state
    by_shape: dict[tuple, set[str]] = {}
    for leaf, sharding in zip(jax.tree.leaves(state.params), jax.tree.leaves(program.shardings.params), strict=True):
        by_shape.setdefault(leaf.shape, set()).add(str(sharding.spec))
    counts = {}
    rest = jax.tree_util.tree_leaves_with_path((state.opt_state, state.average))
    for (path, leaf), sharding in zip(rest, _rest(program), strict=True):
        if leaf.shape in by_shape and leaf.ndim:
            assert str(sharding.spec) in by_shape[leaf.shape], jax.tree_util.keystr(path)
            counts[leaf.shape] = counts.get(leaf.shape, 0) + 1
    # AdamW has two moments of every parameter, Muon one or two, and there is one average.
    assert sum(counts.values()) >= 2 * len(jax.tree.leaves(state.params))
    split = [s for s in _rest(program) if any(part is not None for part in s.spec)]
    assert len(split) > 30


def _describe(config, sizes) -> dict:
    """Specs of parameters, optimizer state and activations, as text."""
    program = _program(config, sizes, abstract=True)
    batch = jax.device_put(next(_batches(config)), program.layout.by_batch)
    stage = program.stages[1]
    program.step(stage, 0).jitted.lower(program.first_state, batch, program.values[stage.name])

    def specs(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: isinstance(x, jax.NamedSharding))
        return {_dotted(path): str(tuple(sharding.spec)) for path, sharding in leaves}

    return {
        "batch": str(tuple(program.layout.by_batch.spec)),
        "parameters": specs(program.shardings.params),
        "optimizer": specs(program.shardings.opt_state),
        "activations": dict(sorted(program.layout.placed.items())),
    }


def _dotted(path) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def test_shardings_are_those_written_down(wide):
    """Where a change is meant: remove the file, run the test, and look at the difference."""
    wide.optimizer.name = "adamw"
    found = {"4x2": _describe(wide, (4, 2))}
    wide.sharding.fully_sharded = True
    found["4x2, fully sharded"] = _describe(wide, (4, 2))
    if not GOLDEN.is_file():
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
        pytest.fail(f"{GOLDEN} was missing and is written now; look at it.")
    assert found == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("sizes", [(8, 1), (4, 2)])
def test_collectives_of_a_step(wide, sizes):
    """Data parallelism only sums gradients; heads and MLPs over the model axis gather what they share."""
    _, _, program = _steps(wide, sizes)
    step = program.step(program.stages[0], 0)
    count = count_by_kind(find_collectives(step.executable.as_text(), 8))
    assert count["all-reduce"] > 0
    if sizes == (8, 1):
        assert sum(count.values()) == count["all-reduce"], count
    assert sum(count.values()) < 250, count


def test_steps_of_synthesis_send_nothing():
    """Every device compares its share of the pictures, and finds what one device does."""
    layout = _layout(rules=(("render_batch", "data,model"),))
    vertices, faces = icosphere(1)
    points = (0.3 * vertices[None] * np.linspace(0.8, 1.2, 8)[:, None, None]).astype(np.float32)
    camera = orbit(2.7, np.zeros(8, np.float32), np.arange(8, dtype=np.float32), np.full(8, 0.5, np.float32))
    evidence = Evidence(np.ones((8, 16, 16), np.float32), camera, np.zeros((8, 1, 1, 1), np.float32))

    def gradient(points, evidence):
        return synthesize(points, faces, evidence, 1e-3).gradient

    def shared_gradient(points, evidence):
        with placing(layout.place, layout.split):
            return gradient(points, evidence)

    shared = jax.NamedSharding(layout.mesh, jax.P(("data", "model")))
    compiled = jax.jit(shared_gradient, in_shardings=shared, out_shardings=shared).lower(points, evidence).compile()
    assert find_collectives(compiled.as_text(), 8) == []
    found = compiled(*jax.device_put((points, evidence), shared))
    np.testing.assert_allclose(found, jax.jit(gradient)(points, evidence), atol=1e-6)


def test_looking_for_faces_sends_nothing():
    """The texture finds its faces in the pictures of its own device, and finds what one device does."""
    layout = _layout(rules=(("render_batch", "data,model"),))
    vertices, _ = icosphere(1)
    vertices = (0.3 * vertices[None] * np.linspace(0.8, 1.2, 8)[:, None, None]).astype(np.float32)
    camera = orbit(2.7, np.zeros(8, np.float32), np.arange(8, dtype=np.float32), np.full(8, 0.5, np.float32))
    images = np.random.default_rng(0).uniform(size=(8, 16, 16, 4)).astype(np.float32)

    def texels(images, vertices, camera):
        return projected_texels(look(images, vertices, camera, 1, 2), vertices, 1)

    def shared_texels(*scene):
        with placing(layout.place, layout.split):
            return texels(*scene)

    shared, scene = jax.NamedSharding(layout.mesh, jax.P(("data", "model"))), (images, vertices, camera)
    compiled = jax.jit(shared_texels, in_shardings=shared, out_shardings=shared).lower(*scene).compile()
    assert find_collectives(compiled.as_text(), 8) == []
    np.testing.assert_allclose(compiled(*jax.device_put(scene, shared)), jax.jit(texels)(*scene), atol=1e-6)


def test_the_rasterizer_of_a_step_sends_nothing():
    """Forward and backward, over both axes of the mesh: every device renders its own pictures."""
    layout = _layout()
    vertices, faces = icosphere(2)
    shared = jax.NamedSharding(layout.mesh, jax.P(("data", "model")))
    camera = orbit(2.7, np.full(8, 0.3, np.float32), np.arange(8, dtype=np.float32), np.full(8, 0.5, np.float32))
    camera = jax.tree.map(lambda x: jax.device_put(x[:, None], shared), camera)
    settings = ViewSettings((16, 16), 1e-4, mesh=layout.mesh, axes=("data", "model"))

    def loss(vertices, camera):
        return render_views(vertices, faces, camera, settings)[1].sum()

    shapes = jax.ShapeDtypeStruct((8, *vertices.shape), np.float32, sharding=shared)
    compiled = jax.jit(jax.grad(loss), out_shardings=shared).lower(shapes, camera).compile()
    assert find_collectives(compiled.as_text(), 8) == []


RULES = (("batch", "data"), ("all", "data,model"), ("heads|mlp", "model"))


def _layout(sizes=(4, 2), rules=RULES, **options) -> Layout:
    return Layout(make_mesh((("data", sizes[0]), ("model", sizes[1]))), rules, **options)


@pytest.mark.parametrize(
    "axes, shape, spec",
    [
        (("embed", "heads", "head_dim"), (8, 4, 2), (None, "model", None)),
        (("embed", "mlp"), (8, 3), (None, None)),  # three does not halve
        (("heads", "mlp"), (4, 4), ("model", None)),  # each part of the mesh once
        (("all", "embed"), (8, 4), (("data", "model"), None)),
        (("all", "embed"), (4, 4), ("data", None)),  # as many devices as divide it
        (("all", "mlp"), (3, 4), (None, "model")),
        (None, (3, 4), ()),
    ],
)
def test_rules(axes, shape, spec):
    assert _layout().spec(axes, shape) == jax.P(*spec)


def test_the_first_rule_counts_and_matches_whole_names():
    layout = _layout(rules=(("heads", ""), ("head.*", "model")))
    assert layout.spec(("heads", "head_dim"), (2, 2)) == jax.P(None, "model")


def test_fully_sharded_takes_the_largest_free_axis():
    layout = _layout(fully_sharded=True)
    assert layout.parameter_spec(("embed", "heads", "head_dim"), (8, 4, 16)) == jax.P(None, "model", "data")
    assert layout.parameter_spec(None, (3, 3, 16, 64)) == jax.P(None, None, None, "data")
    assert layout.parameter_spec(("coordinates",), (3,)) == jax.P(None)


def test_wrong_layouts_are_named(config):
    with pytest.raises(ValueError, match="3 devices.* there are 8"):
        make_mesh((("data", 3),))
    with pytest.raises(ValueError, match="name of its own"):
        make_mesh((("data", -1), ("model", -1)))
    with pytest.raises(ValueError, match="names for an array"):
        _layout().spec(("embed",), (2, 2))
    config.sharding.rules = (("batch", "rows"),)
    with pytest.raises(ValueError, match="'rows'.*data, model"):
        make_layout(config)


def test_rows_of_a_process():
    layout = _layout((4, 2))
    assert local_rows(layout.by_batch, 16) == (0, 16)  # one process has them all
