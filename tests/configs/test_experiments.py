"""Every config of every experiment builds a model and its stages, without computing anything."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.training.stages import make_stages
from ast_jax.training.state import make_model

FOLDER = Path(__file__).resolve().parents[2] / "configs"
VARIANTS = {
    "quickstart": (None, "tiny"),
    "cub": (None, "ast", "cmr,size=tiny"),
    "shapenet": (None, "02691156,shape=mlp,steps=9"),
    "freeshapes": ("aircraft", "chair,shape=mlp", "car,steps=9", "thing,shape=steps"),
    "baselines": (
        None,
        "cmr,data=cub",
        "cmr,size=tiny",
        "dibr,data=freeshapes:chair",
        "dibr,texture=map,size=tiny",
        "ucmr,data=cub",
        "ucmr,kind=car,size=tiny",
        "ast_released,data=cub_ast",
        "ast_released,size=tiny",
    ),
    "large": ("size=tiny", "accumulate=32,model=2"),
}


def _load(name: str, arg: str | None) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)


def trace_vertices(config: ConfigDict) -> jax.ShapeDtypeStruct:
    """What the model makes of two pictures; nothing is computed."""
    graphdef, params = make_model(config, abstract=True)
    channels = 4 if config.data.input_masked else 3
    images = jax.ShapeDtypeStruct((2, config.data.image_size, config.data.image_size, channels), np.float32)
    return jax.eval_shape(lambda params, images: nnx.merge(graphdef, params)(images).vertices, params, images)


def test_every_experiment_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "common"} == set(VARIANTS)


@pytest.mark.parametrize("name, arg", [(name, arg) for name, args in VARIANTS.items() for arg in args])
def test_config_builds(name, arg):
    config = _load(name, arg)
    assert make_stages(config)
    vertices = trace_vertices(config)
    assert vertices.shape[0] == 2 and vertices.shape[2] == 3
    assert config.to_json()


def test_birds_are_not_cut_out_of_the_photographs_that_the_model_sees():
    assert not any(_load("cub", variant).data.input_masked for variant in ("ast", "cmr"))
    assert _load("freeshapes", "chair").data.input_masked and _load("shapenet", None).data.input_masked
