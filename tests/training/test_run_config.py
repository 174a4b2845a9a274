"""``config.json`` of a run, also of one that an earlier version started."""

import json

import pytest

from ast_jax.config import base_config
from ast_jax.training.run_config import CONFIG_FILE, load_config, save_config


@pytest.fixture
def folder(tmp_path):
    """A run from before ``recompute`` and the stages' ``synthesis``, when there was a ``model.shape.wings``."""
    old = json.loads(base_config().to_json())
    del old["recompute"], old["stage"]["coarse"]["synthesis"]
    old["model"]["shape"]["wings"] = 2
    old["data"]["background"] = [0.5, 0.5, 0.5]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(old))
    return tmp_path


def test_what_is_new_has_its_default_and_what_is_gone_is_named(folder, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        config = load_config(folder)
    assert "left out what is no key of the config any more: config.model.shape.wings" in caplog.text
    wanted = base_config()
    wanted.data.background = (0.5, 0.5, 0.5)
    wanted.stage.coarse.synthesis = True  # that of a stage without the key
    assert config == wanted


def test_an_older_run_goes_on_where_nothing_differs(folder):
    config = load_config(folder)
    with pytest.raises(ValueError, match="config.model.shape.wings was 2, and is no key any more"):
        save_config(folder, config)
    save_config(folder, config, allow_change=True)
    stored = json.loads((folder / CONFIG_FILE).read_text())
    del stored["recompute"]
    (folder / CONFIG_FILE).write_text(json.dumps(stored))
    save_config(folder, config)
    assert json.loads((folder / CONFIG_FILE).read_text()) == json.loads(config.to_json())


def test_a_new_key_that_is_not_at_its_default_is_a_change(folder):
    config = load_config(folder)
    config.recompute = True
    with pytest.raises(ValueError, match="config.recompute was False, is True"):
        save_config(folder, config)
