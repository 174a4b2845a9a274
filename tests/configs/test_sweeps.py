"""Every sweep of every experiment overrides what is there, with values of which a model can be built."""

import importlib
import json

import pytest

from ast_jax.sweep import make_sweep
from ast_jax.training.stages import make_stages
from ast_jax.training.state import make_model
from tests.configs.test_experiments import FOLDER, VARIANTS, trace_vertices

SWEEPS = ("layers", "learning_rate", "queries", "seed", "shape", "texture")
PATH = FOLDER / "quickstart.py"
# Where the input is cut out and its camera is predicted.
MORE = {"quickstart": ["steps", "synthesis"], "freeshapes": ["steps", "synthesis"]}
# A rival is what it is: only chance and the learning rate may change.
FEWER = {"baselines": ("learning_rate", "seed")}
# Of each experiment what its sweeps start from, small where that is to be had: tracing the full ``large`` takes long.
STARTS = [("quickstart", "tiny"), ("cub", "cmr"), ("cub", "ast"), ("shapenet", None), ("freeshapes", "aircraft")]
STARTS += [("large", "size=tiny"), ("baselines", "dibr,size=tiny")]


def test_every_experiment_is_swept():
    assert {name for name, _ in STARTS} == set(VARIANTS)


@pytest.mark.parametrize("name, variant", STARTS)
def test_every_unit_of_every_sweep_builds(name, variant):
    config = importlib.import_module(f"configs.{name}").get_config(variant)
    built = set()  # seeds and learning rates make no model of their own
    for sweep in (*FEWER.get(name, SWEEPS), *MORE.get(name, ())):
        units = make_sweep(str(FOLDER / f"{name}.py"), config, [sweep], "runs", common={}).units
        assert len({json.dumps(unit.overrides) for unit in units}) == len(units) >= 2
        for unit in units:
            changed = config.copy_and_resolve_references()
            changed.update_from_flattened_dict(unit.overrides)
            assert make_stages(changed)
            if changed.model.to_json() not in built:
                make_model(changed, abstract=True)
            built.add(changed.model.to_json())


def test_every_unit_of_every_sweep_answers():
    """All branches that sweeps choose from, on the experiment that offers most of them."""
    config = importlib.import_module("configs.quickstart").get_config("tiny")
    sweeps = (*SWEEPS, *MORE["quickstart"])
    units = [unit for name in sweeps for unit in make_sweep(str(PATH), config, [name], "runs", common={}).units]
    models = {}
    for unit in units:
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(unit.overrides)
        models[changed.model.to_json()] = changed
    assert len(models) > 10
    for changed in models.values():
        assert trace_vertices(changed).shape[2] == 3


def test_the_ablations_of_the_paper_multiply():
    config = importlib.import_module("configs.freeshapes").get_config("aircraft")
    path = str(FOLDER / "freeshapes.py")
    sweep = make_sweep(f"{path}:aircraft", config, ["shape", "seed"], "runs/a", common={"batch_size": 8})
    assert [unit.folder.name for unit in sweep.units][2:4] == ["002-kind=transformer,seed=2", "003-kind=mlp,seed=0"]
    assert sweep.units[3].command[-3:] == ("--config.batch_size=8", "--config.model.shape.kind=mlp", "--config.seed=0")
