"""Checkpoints that were cut short or changed are never loaded; the newest good one is."""

import contextlib
import json
import logging
import pickle
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from ast_jax.model import Model
from ast_jax.process.ownership import owning
from ast_jax.training import checkpoint
from ast_jax.training.checkpoint import Checkpoints, load_model_and_step
from ast_jax.training.state import make_state

STEPS = (3, 5)


def _state(step: int, size: int = 4000):
    params = {"encoder": {"a": jnp.arange(size, dtype=jnp.float32) + step, "b": jnp.full((3, 5), float(step))}}
    return make_state(params, optax.adam(1e-3)).__class__(jnp.int32(step), params, optax.adam(1e-3).init(params))


@pytest.fixture
def run(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in STEPS:
        checkpoints.save(_state(step), score=0.5)
    checkpoints.wait()
    return tmp_path


def _restored_step(run) -> int:
    state = Checkpoints(run, keep=3).restore(_state(0))
    expected = _state(int(state.step))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(a, b)
    return int(state.step)


def _largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def test_the_newest_is_taken(run):
    assert _restored_step(run) == 5 == Checkpoints(run).latest_step()


@pytest.mark.parametrize("harm", [_cut, _flip, lambda path: path.unlink()])
@pytest.mark.parametrize("sealed", [True, False])
def test_damage_is_found_and_the_one_before_is_taken(run, harm, sealed, caplog):
    folder = run / "checkpoints" / "5"
    if not sealed:
        (folder / "SEAL.json").unlink()
        if harm is _flip:
            pytest.skip("a changed byte within the weights shows only by the seal")
    harm(_largest(folder / "params"))
    with caplog.at_level(logging.WARNING):
        assert _restored_step(run) == 3
    assert any("checkpoints/5 is damaged" in record.getMessage() for record in caplog.records)
    # It is out of the way: the run saves step 5 again.
    assert (run / "checkpoints" / "damaged_5").is_dir()
    again = Checkpoints(run, keep=3)
    again.save(_state(5))
    again.wait()
    assert _restored_step(run) == 5
    _cut(_largest(run / "checkpoints" / "5" / "params"))  # once more
    assert _restored_step(run) == 3 and (run / "checkpoints" / "damaged_5-2").is_dir()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_metadata_that_is_empty_or_malformed_costs_one_checkpoint(run, content, tmp_path):
    folder = run / "checkpoints" / "5"
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and _is_json(path)]
    assert len(names) >= 3 and any(name.name == "SEAL.json" for name in names)
    for index, name in enumerate(names):
        other = shutil.copytree(run / "checkpoints", tmp_path / f"other-{index}" / "checkpoints").parent
        (other / "checkpoints" / "5" / name).write_bytes(content)
        assert _restored_step(other) == 3, name


def _is_json(path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def test_if_all_are_damaged_nothing_starts_anew_in_silence(run):
    for step in STEPS:
        _flip(_largest(run / "checkpoints" / str(step) / "params"))
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        Checkpoints(run).restore(_state(0))


def test_another_model_is_said_to_be_one(run):
    with pytest.raises(ValueError, match="does not fit the model"):
        Checkpoints(run).restore(_state(0, size=7))
    assert (run / "checkpoints" / "5").is_dir()


def test_a_save_that_was_cut_short_is_not_seen_and_not_kept(run, read):
    """What orbax had not finished when the process died has a temporary name."""
    left = (run / "checkpoints" / "5").rename(run / "checkpoints" / "7.orbax-checkpoint-tmp")
    assert read() == (3, 3) and left.is_dir()  # it may be under way
    assert _restored_step(run) == 3
    again = Checkpoints(run)
    again.save(_state(9))
    again.wait()
    assert not left.exists()  # nobody would use it, and each is as large as a checkpoint


def test_nothing_is_unpickled(run):
    """A pickle among the files is not even opened: it would write a file."""
    trap = run / "trap"

    class Trap:
        def __reduce__(self):
            return (open, (str(trap), "w"))

    for name in ("_METADATA", "weights.pkl"):
        (run / "checkpoints" / "5" / "params" / name).write_bytes(pickle.dumps(Trap()))
    assert _restored_step(run) == 3 and not trap.exists()


# Those who read a run: launch.evaluate, launch.export and others, while launch.train may be at work in it.


class Numbers(Model):
    """A model that has the weights of `_state`, and no branches."""

    def __init__(self, config, rngs):
        self.encoder = nnx.Dict(a=nnx.Param(jnp.zeros(config.size)), b=nnx.Param(jnp.zeros((3, 5))))


@pytest.fixture
def read(run, monkeypatch):
    """Reads the run, and answers the step of what was read, found by its weights, and the step that it says."""
    config = ConfigDict({"model": {"size": 4000}, "seed": 0})
    monkeypatch.setattr(checkpoint, "Model", Numbers)
    monkeypatch.setattr(checkpoint, "load_config", lambda workdir: config)

    def read(path=run) -> tuple[int, int | None]:
        model, _, step = load_model_and_step(path)
        return int(model.encoder.b[0, 0]), step

    return read


def test_the_step_that_is_told_is_the_one_that_was_read(run, read):
    assert read() == (5, 5)
    assert read(run / "checkpoints" / "3") == (3, 3)
    _cut(_largest(run / "checkpoints" / "5" / "params"))
    assert read() == (3, 3)


def test_a_reader_removes_nothing_of_a_training_that_is_at_work(run, read):
    """What it finds half there may be on its way out, or in."""
    metadata = run / "checkpoints" / "5" / "_CHECKPOINT_METADATA"
    content = metadata.read_bytes()
    metadata.write_bytes(b"")
    with owning(run):
        with contextlib.suppress(ValueError):
            read()
        assert not (run / "checkpoints" / "damaged_5").exists()
        metadata.write_bytes(content)
        assert read() == (5, 5)
    metadata.write_bytes(b"")
    assert read() == (3, 3) and (run / "checkpoints" / "damaged_5").is_dir()


@pytest.mark.parametrize("moment", ["_inspect", "_load", "broken_file"])
def test_a_checkpoint_that_a_training_removes_while_it_is_read(run, read, moment, monkeypatch, caplog):
    """The training saves step 7 and removes the older ones, just before this function reads them."""
    folder, whole = run / "checkpoints", getattr(checkpoint, moment)
    newer = Checkpoints(run / "other")
    newer.save(_state(7))
    newer.wait()

    def after_the_removal(*args):
        if not (folder / "7").exists():
            (run / "other" / "checkpoints" / "7").rename(folder / "7")
            for step in STEPS:
                shutil.rmtree(folder / str(step))
        return whole(*args)

    monkeypatch.setattr(checkpoint, moment, after_the_removal)
    with caplog.at_level(logging.WARNING):
        assert read() == (7, 7)
    assert not any("damaged" in record.getMessage() for record in caplog.records)
