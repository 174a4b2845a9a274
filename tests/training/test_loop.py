import json

import jax
import numpy as np
import pytest

from ast_jax.summary import write_summary
from ast_jax.training.checkpoint import Checkpoints, load_config, load_model
from ast_jax.training.loop import train
from ast_jax.training.metrics import read_metrics


@pytest.fixture
def mesh():
    return jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])


def _losses(workdir) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(workdir)}


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(config, mesh, tmp_path, monkeypatch):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert train(config, straight, mesh=mesh) == 4

    save = Checkpoints.save

    def save_then_die(self, state):
        save(self, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(config, stopped, mesh=mesh)
    monkeypatch.undo()
    assert train(config, stopped, mesh=mesh) == 4
    assert _losses(stopped) == pytest.approx(_losses(straight), rel=1e-5)

    with pytest.raises(ValueError, match="batch_size was 8, is 16"):
        changed = config.copy_and_resolve_references()
        changed.batch_size = 16
        train(changed, stopped, mesh=mesh)


def test_a_run_ends_with_files_to_open(config, mesh, tmp_path):
    train(config, tmp_path, mesh=mesh)
    model, loaded = load_model(tmp_path)
    assert loaded.to_json() == load_config(tmp_path).to_json() == config.to_json()
    image = np.zeros((1, 32, 32, 3), np.float32)
    assert np.isfinite(model(image).vertices).all()

    files = write_summary(tmp_path)
    assert all(path.stat().st_size > 0 for path in files)
    assert {path.suffix for path in files} == {".html", ".png", ".glb", ".gif", ".json", ".md"}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert 0 < metrics["Shape Transformer"]["iou_3d"]["mean"] < 1
    assert 0 < metrics["template sphere"]["iou_3d"]["mean"] < 1


def test_what_is_missing_is_said(config, mesh, tmp_path):
    with pytest.raises(ValueError, match="not a training run"):
        load_model(tmp_path / "nowhere")
    config.data.root = str(tmp_path / "nothing")
    with pytest.raises(ValueError, match="prepare_data"):
        train(config, tmp_path / "run", mesh=mesh)
