"""Trained models without their runs: weights in half precision and the config, small enough for the package."""

import json
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from safetensors.numpy import load, save

from ast_jax.files.limits import check_memory
from ast_jax.files.writing import write_bytes, write_text
from ast_jax.model import Model
from ast_jax.training.run_config import CONFIG_FILE, load_config

WEIGHTS = "model.safetensors"
# Of the package; each is a folder with a card.
SHIPPED = Path(__file__).resolve().parents[1] / "pretrained" / "models"


def find_release(name: str | Path) -> Path | None:
    """The folder of a released model: that of this path, or the package's of this name; None where there is none.

    Args:
      name: of a folder with ``model.safetensors``, or of a model that comes with the package, such as ``bird``.
    """
    path, shipped = Path(name), SHIPPED / name
    # A run of the user's that has the name of a model is the user's; a folder of photographs, or of what an evaluation
    # of the shipped model wrote, is no model.
    folder = path if any((path / file).exists() for file in (WEIGHTS, CONFIG_FILE, "checkpoints")) else shipped
    return folder if (folder / WEIGHTS).is_file() else None


def shipped_names() -> list[str]:
    """Of the models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{WEIGHTS}"))


def write_release(model: Model, config: ConfigDict, folder: str | Path) -> None:
    """Write a model for others.

    Args:
      model: trained.
      config: of its run; where its data lay stays behind.
      folder: is made; ``model.safetensors`` with float16 weights, and ``config.json``.
    """
    folder, config = Path(folder), config.copy_and_resolve_references()
    folder.mkdir(parents=True, exist_ok=True)
    config.data.root = config.init_from = ""
    weights = {_name(path): np.asarray(leaf, np.float16) for path, leaf in _leaves(model)}
    write_bytes(folder / WEIGHTS, save(weights))
    write_text(folder / CONFIG_FILE, json.dumps(json.loads(config.to_json()), indent=1) + "\n")


def read_release(folder: str | Path) -> tuple[Model, ConfigDict]:
    """A model that `write_release` wrote, in single precision.

    Args:
      folder: see `find_release`.

    Raises:
      ValueError: a file is broken, or weights are missing, of another shape or not finite.
    """
    folder = Path(folder)
    path = folder / WEIGHTS
    try:
        config = load_config(folder)
        check_memory(path, 2 * path.stat().st_size)
        weights = load(path.read_bytes())
    except Exception as error:
        raise ValueError(f"{folder}: not a released model ({str(error) or type(error).__name__}).") from error
    model = nnx.eval_shape(lambda: Model(config.model, rngs=nnx.Rngs(0)))
    graphdef, params = nnx.split(model)
    shapes = {_name(p): leaf.shape for p, leaf in _leaves(model)}
    wrong = [name for name, shape in shapes.items() if name not in weights or weights[name].shape != shape]
    wrong += [name for name, value in weights.items() if name not in shapes or not np.isfinite(value).all()]
    if wrong:
        raise ValueError(f"{path}: wrong, missing or not finite: {', '.join(sorted(set(wrong))[:5])}.")
    found = jax.tree_util.tree_map_with_path(
        lambda p, leaf: jax.numpy.asarray(weights[_name(p)], leaf.dtype), nnx.to_pure_dict(params)
    )
    return nnx.merge(graphdef, found), config


def _leaves(model: Model) -> list:
    return jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.split(model)[1]))


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
