"""Every sweep of every experiment overrides what is there, with values of which a model can be built."""

import importlib
import json

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.model import Model
from ast_jax.sweep import make_sweep
from ast_jax.training.stages import make_stages
from tests.configs.test_experiments import FOLDER, VARIANTS

SWEEPS = ("layers", "learning_rate", "queries", "seed", "shape", "texture")
# Small models, which are built sooner: that of ``large`` takes ten seconds, each time.
TINY = {"quickstart": ("tiny",), "large": ("size=tiny",)}


@pytest.fixture(scope="module")
def build():
    """Traces a model, each kind of model once: seeds, learning rates and sizes of pictures make none of their own."""
    seen = set()

    def build_once(config: ConfigDict) -> None:
        size, known = config.data.image_size, config.model.to_json()
        if known not in seen:
            predict = lambda image: Model(config.model, rngs=nnx.Rngs(0))(image).vertices  # noqa: E731
            assert jax.eval_shape(predict, jax.ShapeDtypeStruct((1, size, size, 3), np.float32)).shape[2] == 3
        seen.add(known)

    return build_once


@pytest.mark.parametrize("name", VARIANTS)
def test_every_unit_of_every_sweep_builds(name, build):
    variants = [arg for arg in VARIANTS[name] if "tiny" not in (arg or "")][:2]
    for variant in TINY.get(name, variants):
        config = importlib.import_module(f"configs.{name}").get_config(variant)
        for sweep in SWEEPS:
            units = make_sweep(str(FOLDER / f"{name}.py"), config, [sweep], "runs", common={}).units
            assert len({json.dumps(unit.overrides) for unit in units}) == len(units) >= 2
            for unit in units:
                changed = config.copy_and_resolve_references()
                changed.update_from_flattened_dict(unit.overrides)
                assert make_stages(changed)
                build(changed)


def test_the_ablations_of_the_paper_multiply():
    config = importlib.import_module("configs.freeshapes").get_config("aircraft")
    path = str(FOLDER / "freeshapes.py")
    sweep = make_sweep(f"{path}:aircraft", config, ["shape", "seed"], "runs/a", common={"batch_size": 8})
    assert [unit.folder.name for unit in sweep.units][2:4] == ["002-kind=transformer,seed=2", "003-kind=mlp,seed=0"]
    assert sweep.units[3].command[-3:] == ("--config.batch_size=8", "--config.model.shape.kind=mlp", "--config.seed=0")
