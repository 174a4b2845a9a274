"""Released models: what is written is read, what is broken is said, and those of the package are whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from ast_jax.model import Model
from ast_jax.training.checkpoint import load_model
from ast_jax.training.release import SHIPPED, WEIGHTS, find_release, read_release, write_release
from configs.quickstart import get_config

NAMES = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model with random weights, and the folder that it was written to."""
    config, folder = get_config("tiny"), tmp_path_factory.mktemp("release") / "mine"
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Model(config.model, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    model = nnx.merge(graph, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes))
    write_release(model, config, folder)
    return model, config, folder


def _leaves(model):
    return jax.tree.leaves(nnx.to_pure_dict(nnx.split(model)[1]))


def test_what_is_written_is_read_to_half_precision(written):
    model, config, folder = written
    found, found_config = load_model(folder)
    for wanted, leaf in zip(_leaves(model), _leaves(found), strict=True):
        assert leaf.dtype == wanted.dtype
        np.testing.assert_allclose(leaf, wanted, rtol=2**-10, atol=1e-7)
    assert found_config.model.to_dict() == config.model.to_dict()
    assert found_config.data.root == ""  # where the data lay is nobody's business


@pytest.mark.parametrize("fault", ["missing", "shape", "nan", "cut", "more"])
def test_a_broken_file_is_named(written, tmp_path, fault):
    _, _, folder = written
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((folder / "config.json").read_bytes())
    weights = load_file(folder / WEIGHTS)
    name = min(weights)
    if fault == "missing":
        del weights[name]
    elif fault == "shape":
        weights[name] = np.zeros(7, np.float16)
    elif fault == "nan":
        weights[name] = np.full_like(weights[name], np.nan)
    elif fault == "more":
        weights["nobody"] = np.zeros(1, np.float16)
    save_file(weights, copy / WEIGHTS)
    if fault == "cut":
        content = (copy / WEIGHTS).read_bytes()
        (copy / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=str(copy)) as error:
        read_release(copy)
    assert fault == "cut" or (name if fault != "more" else "nobody") in str(error.value)


def test_paths_and_names_are_found():
    assert find_release("bird") == SHIPPED / "bird" == find_release(SHIPPED / "bird")
    assert find_release("no such bird") is None


def test_a_misspelt_name_gets_the_near_match():
    with pytest.raises(ValueError, match="brd: not a training run, .*did you mean 'bird'"):
        load_model("brd")


def test_a_run_that_has_the_name_of_a_model_is_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "photo.jpg").write_bytes(b"")
    assert find_release("bird") == SHIPPED / "bird"  # photographs are no run
    (tmp_path / "bird" / "config.json").write_text("{}")
    assert find_release("bird") is None


@pytest.mark.parametrize("name", NAMES)
def test_models_of_the_package_are_whole(name):
    model, config = load_model(name)
    size = config.data.image_size
    graph, params = nnx.split(model)
    prediction = jax.eval_shape(
        lambda params, image: nnx.merge(graph, params)(image),
        params,
        jax.ShapeDtypeStruct((1, size, size, 4), "float32"),
    )
    assert prediction.vertices.shape[0] == 1 and prediction.texture is not None
    assert "held-out" in (SHIPPED / name / "card.md").read_text()
