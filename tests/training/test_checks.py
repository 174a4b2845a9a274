"""What is said before any work: every wrong value by its key."""

import contextlib

import jax
import pytest
from flax import nnx

from ast_jax.data.pipeline import DataSource
from ast_jax.training import memory, workdir
from ast_jax.training.checks import check_config, check_data
from ast_jax.training.compiled import CompileStats
from ast_jax.training.program import make_program
from ast_jax.training.sharding import make_layout
from ast_jax.training.state import make_model
from configs import baselines, cub, freeshapes, large, quickstart, shapenet


def _change(config, key: str, value) -> None:
    *path, last = key.split(".")
    for part in path:
        config = config[part]
    with config.unlocked(), config.ignore_type():
        config[last] = value


def _check(config) -> None:
    check_config(config, make_layout(config, jax.devices()[:1]))


@pytest.mark.parametrize("module", [quickstart, cub, freeshapes, large, shapenet])
def test_what_ships_passes(module):
    _check(module.get_config())


@pytest.mark.parametrize("rival", baselines.RIVALS)
@pytest.mark.parametrize("data", ["quickstart", "cub", "freeshapes:chair", "shapenet:car"])
def test_rivals_pass_on_every_data_set(rival, data):
    _check(baselines.get_config(f"{rival},data={data}"))


def test_a_flow_needs_the_mask_of_what_the_model_sees():
    config = baselines.get_config("cmr")
    config.data.input_masked = False
    with pytest.raises(ValueError, match="config.stage.joint.losses.flow: needs the input's mask"):
        _check(config)
    config.data.input_crop = "frame"
    _check(config)


@pytest.mark.parametrize(
    "key, value, says",
    [
        ("log_every", 0, "config.log_every=0: .*1 or more"),
        ("checkpoint_every", 0, "config.checkpoint_every=0"),
        ("eval_every", -1, "config.eval_every=-1: .*0 or more"),
        ("keep_checkpoints", 0, "config.keep_checkpoints=0"),
        ("batch_size", 0, "config.batch_size=0"),
        ("accumulate_steps", 3, "batch_size=8 must be a positive multiple of .*accumulate_steps=3"),
        ("seed", -1, "config.seed=-1"),
        ("seed", 10**20, "config.seed=100000000000000000000: .*below"),
        ("model.shape.layers", -1, "config.model.shape.layers=-1: .*1 or more"),
        ("model.encoder.width", 0, "config.model.encoder.width=0: .*1 or more"),
        ("data.augment.colour", -1.0, "augment.colour=-1.0: .*at most 1"),
        ("data.augment.crop", float("nan"), "augment.crop=nan: .*at most 1"),
        ("data.background", ("w", "w", "w"), "config.data.background=.*three numbers"),
        ("stage.shape.trainable", (), r"config.stage.shape.trainable=\(\): the stage trains nothing"),
        ("optimizer.learning_rate", float("nan"), "config.optimizer.learning_rate=nan"),
        ("optimizer.learning_rate", -1e-3, "config.optimizer.learning_rate=-0.001"),
        ("optimizer.ema_decay", 1.0, "config.optimizer.ema_decay=1.0"),
        ("optimizer.name", "adam", "config.optimizer.name='adam': .*did you mean 'adamw'"),
        ("optimizer.group_scale.shape", -1.0, "config.optimizer.group_scale.shape"),
        ("optimizer.learning_rat", 1.0, "config.optimizer.learning_rat is no key .*did you mean 'learning_rate'"),
        ("bach_size", 8, "config.bach_size is no key .*did you mean 'batch_size'"),
        ("log_every", "often", "config.log_every='often' should be of type int"),
        ("render.sigma", 0.0, "config.render.sigma=0.0"),
        ("render.gamma", float("inf"), "config.render.gamma=inf"),
        ("render.blending", "sotfmax", "config.render.blending='sotfmax': .*did you mean 'softmax'"),
        ("data.render_size", 0, "config.data.render_size=0: .*1 or more"),
        ("data.input_crop", "objct", "config.data.input_crop='objct': .*did you mean 'object'"),
        ("data.background", (1.0, 2.0, 0.0), "config.data.background=.*three numbers"),
        ("data.augment.box", 0.1, "config.data.augment.box=0.1: .*config.data.input_crop='frame'"),
        ("data.source", "quikstart", "config.data.source='quikstart': .*did you mean 'quickstart'"),
        ("model.shape.layers", 0, "config.model.shape.layers=0: .*1 or more"),
        ("model.texture.kind", "projected", "config.model.texture.kind='projected': .*did you mean 'projection'"),
        ("stage.shape.losses.iou", "much", "config.stage.shape.losses.iou='much' should be of type float"),
        ("stage.shape.trainble", (), "config.stage.shape.trainble is no key .*did you mean 'trainable'"),
        ("data.augment.flp", True, "config.data.augment.flp is no key .*'flip'"),
        ("precision.compute", "float16", "config.precision.compute='float16': choose one of float32, bfloat16"),
        ("precision.keep_float32", "(", r"config.precision.keep_float32='\(': not a regular expression"),
        ("sharding.rules", (("(", "data"),), r"config.sharding.rules='\(': not a regular expression"),
        ("sharding.rules", ("batch",), "config.sharding.rules=.*give pairs"),
        ("mesh", (("data", 2),), "asks for 2 devices"),
        ("mesh", ("data=8",), "config.mesh=.*give pairs"),
        ("stages", (("shap", 3),), "stage='shap': .*did you mean 'shape'"),
        ("stages", (("shape", -3),), "stage 'shape' has -3 steps"),
        ("stages", (("shape", 0),), "nothing to train"),
        ("stages", ("shape", 3), "config.stages=.*give pairs"),
        ("stages", (), "config.stages=.*give pairs"),
        ("stage.shape.losses.iuo", 1.0, "config.stage.shape.losses='iuo': .*did you mean 'iou'"),
        ("stage.shape.losses.iou", float("nan"), "config.stage.shape.losses.iou=nan"),
        ("stage.shape.losses", {"iou": 0.0}, "every weight is 0"),
        ("stage.shape.losses.keypoint", 1.0, "'keypoint' needs config.model.num_keypoints"),
        ("model.camera.predict", False, "'camera' needs config.model.camera.predict"),
        ("stage.shape.losses.uniform_pose", 1.0, "'uniform_pose' needs config.model.camera.kind"),
        ("model.texture.kind", "none", "'l1' needs config.model.texture.kind"),
        ("stage.joint.trainable", ("shpae",), "config.stage.joint.trainable='shpae': .*did you mean 'shape'"),
        ("perceptual.network", "alexnt", "config.perceptual.network='alexnt': .*did you mean 'alexnet'"),
        ("evaluation.num_views", 0, "config.evaluation.num_views=0"),
        ("model.shape.synthesis_steps", 0, "config.model.shape.synthesis_steps=0"),
    ],
)
def test_a_wrong_value_is_named(config, key, value, says):
    _check(config)
    _change(config, key, value)
    with pytest.raises(ValueError, match=says) as error:
        _check(config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["data.input_masked", "model.camera.predict"])
def test_steps_of_synthesis_say_what_they_need(config, key):
    config.model.shape.synthesis = "fit"
    _check(config)
    _change(config, key, False)
    with pytest.raises(ValueError, match="config.model.shape.synthesis=fit: .*config.model.camera.predict=True"):
        _check(config)


def test_what_the_data_set_does_not_have_is_named(config, data_root):
    config.model.num_keypoints = 3
    config.stage.shape.losses.keypoint = 1.0
    source = DataSource(data_root, "train", config.data)
    with pytest.raises(ValueError, match="has 2 key points, but config.model.num_keypoints=3; set it to 2"):
        check_data(source, config)
    config.stage.shape.losses.keypoint = 0.0
    check_data(source, config)
    config.evaluation.split = "tset"
    with pytest.raises(ValueError, match="config.evaluation.split='tset': .*did you mean 'test'"):
        check_data(source, config)
    config.evaluation.split, config.eval_every, config.best_metric = "test", 1, "loss/io"
    with pytest.raises(ValueError, match="config.best_metric, stage shape='loss/io': .*did you mean 'loss/iou'"):
        check_data(source, config)


def test_more_memory_than_there_is(config, monkeypatch):
    """A batch: 8 samples of (4 * 4096^2 + 4 * 2 views * 32^2) numbers of 4 bytes, 2.15 GB."""
    config.data.image_size, config.data.num_threads = 4096, 1
    assert memory.batch_bytes(config, 8) == 8 * 4 * (4 * 4096**2 + 4 * 2 * 32**2)
    monkeypatch.setattr(memory, "available_memory", lambda: int(17e9))
    memory.check_batches(config, 8)
    config.data.num_threads = 4
    with pytest.raises(ValueError, match=r"take up to 38.7 GB, and 17.0 GB .*config.data.image_size=4096"):
        memory.check_batches(config, 8)

    cpu = jax.devices("cpu")[0]
    fits = 17_000_000_000 // jax.local_device_count()
    sizes = dict(argument_bytes=0, output_bytes=5, alias_bytes=5)
    memory.check_program(CompileStats("step", 1.0, temporary_bytes=fits, **sizes), cpu)
    memory.check_program(CompileStats("step", 1.0), cpu)  # a backend that does not tell
    with pytest.raises(ValueError, match="step: needs .*config.accumulate_steps"):
        memory.check_program(CompileStats("step", 1.0, temporary_bytes=fits + 1000, **sizes), cpu)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model.dim", 1_000_000, r"million parameters, .* alone .*20.0 GB are left"),
        ("model.encoder.width", 100_000, "million parameters, encoder"),
        ("model.mlp_ratio", 10**9, "million parameters"),
        ("model.texture.texels", 1000, "one array of a step .*config.model.texture.texels=1000"),
        ("model.shape.synthesis_steps", 10**8, "one array of a step .*config.model.shape.synthesis_steps=100000000"),
        ("data.image_size", 30_000, "one array of a step .*config.data.image_size=30000"),
        ("data.num_target_views", 10**6, "one array of a step .*config.data.num_target_views=1000000"),
        ("batch_size", 8 * 10**6, "one array of a step .*config.batch_size=8000000"),
        ("model.shape.query_level", 6, "config.model.shape.query_level=6: .*at most 5"),
        ("model.shape.layers", 10**6, "config.model.shape.layers=1000000: .*at most 100"),
    ],
)
def test_a_model_or_a_step_that_no_memory_holds(config, monkeypatch, key, value, says):
    """Before a parameter is made, and before anything is compiled."""
    monkeypatch.setattr(memory, "available_memory", lambda: int(20e9))
    config.model.shape.synthesis = "learned"
    _change(config, key, value)
    layout = make_layout(config, jax.devices()[:1])
    with pytest.raises(ValueError, match=says) as error:
        check_config(config, layout)
        memory.check_step(config, layout)
        make_program(config, layout)
    assert "\n" not in str(error.value)


def test_the_largest_arrays_of_a_step_are_there(config):
    """Each is among the results of the traced gradient, which needs no formula."""
    config.model.shape.synthesis, config.model.shape.kind, config.batch_size = "learned", "transformer", 1
    config.model.texture.kind, config.model.shape.synthesis_steps = "transformer", 7
    graphdef, params = make_model(config, abstract=True)
    image = jax.ShapeDtypeStruct((1, config.data.image_size, config.data.image_size, 4), "float32")

    def total(params, image):
        return sum(
            leaf.sum() for leaf in jax.tree.leaves(nnx.merge(graphdef, params)(image)) if leaf.dtype == "float32"
        )

    sizes = set(_sizes(jax.make_jaxpr(jax.grad(total))(params, image).jaxpr))
    arrays = memory.largest_arrays(config)
    views = arrays.pop(("data.num_target_views", "data.render_size"))
    assert views == config.data.num_target_views * config.data.render_size**2 * (3 + 1)  # of the batch
    assert len(arrays) == 4 and set(arrays.values()) <= sizes


def _sizes(jaxpr):
    for equation in jaxpr.eqns:
        yield from (out.aval.size for out in equation.outvars)
        for value in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")):
            if hasattr(value, "jaxpr") or hasattr(value, "eqns"):
                yield from _sizes(getattr(value, "jaxpr", value))


def test_a_disk_without_room_for_the_checkpoints(tmp_path, monkeypatch):
    from ast_jax.training.state import TrainState

    state = TrainState(0, jax.ShapeDtypeStruct((250_000_000,), "float32"), ())
    free = type("Usage", (), {"free": int(3.5e9)})
    monkeypatch.setattr(workdir.shutil, "disk_usage", lambda path: free)
    workdir.check_room(tmp_path, state, 1)  # one, the best, and the one under way: 3 GB
    with pytest.raises(ValueError, match=r"take 4.00 GB \(1.00 each\), and the disk has 3.50 GB.*keep_checkpoints=2"):
        workdir.check_room(tmp_path, state, 2)
    for name in ("damaged_5", "5"):  # what was set aside stays; a checkpoint of before makes room
        (tmp_path / "checkpoints" / name / "params").mkdir(parents=True)
        with (tmp_path / "checkpoints" / name / "params" / "data").open("wb") as file:
            file.truncate(10**9)
        with contextlib.nullcontext() if name == "5" else pytest.raises(ValueError, match="the disk has 3.50 GB"):
            workdir.check_room(tmp_path, state, 2)
    monkeypatch.setattr(workdir.os, "walk", lambda folder: [(folder, [], ["removed_meanwhile"])])
    with pytest.raises(ValueError, match="the disk has 3.50 GB"):
        workdir.check_room(tmp_path, state, 2)
