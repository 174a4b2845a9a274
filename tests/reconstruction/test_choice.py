"""Several models asked at once: the one that covers the object best answers, and says so."""

from dataclasses import replace

import numpy as np
import pytest

from ast_jax.data.crop import Box
from ast_jax.reconstruction.choice import Choice
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.reconstruction.result import Reconstruction
from render import orbit


def result(overlap: float, size: int = 8) -> Reconstruction:
    square, mask = np.zeros((size, size, 3), np.float32), np.ones((size, size), np.float32)
    return Reconstruction(
        name="a", picture=square, mask=mask, surroundings=square, close_up=square, close_up_mask=mask,
        vertices=np.zeros((4, 3), np.float32), faces=np.zeros((4, 3), np.int32), level=0, is_symmetric=True,
        predicted_texture=None, camera=orbit(2.732, 0.0, np.zeros(1), 0.42), box=Box(0.0, 0.0, 8.0),
        image_size=(size, size), mask_iou=overlap, notices=("earlier",),
    )  # fmt: skip


class Model(Reconstructor):
    """Covers the one object of a picture by the grey value of the picture, or by 1 less that value."""

    def __init__(self, likes_bright: bool):
        self.likes_bright, self.refined = likes_bright, 0

    def reconstruct_object(self, photo, mask, *, name="object", refine_steps=0):
        self.refined += refine_steps
        grey = float(photo.rgb[mask > 0.5].mean())
        return replace(result(grey if self.likes_bright else 1 - grey), name=name)

    def reconstruct_batch(self, photos):
        return [self.reconstruct(photo) for photo in photos]

    _find_object = None


@pytest.fixture
def models():
    return {"sun": Model(likes_bright=True), "moon": Model(likes_bright=False)}


def picture(*greys: int) -> np.ndarray:
    """Squares of those grey values."""
    image = np.zeros((20, 20 * len(greys), 4), np.uint8)
    for k, grey in enumerate(greys):
        image[4:16, 20 * k + 4 : 20 * k + 16] = grey, grey, grey, 255
    return image


@pytest.mark.parametrize("grey, name", [(230, "sun"), (30, "moon")])
def test_the_best_overlap_answers_and_is_named(models, grey, name):
    found = Choice(models).reconstruct(picture(grey))
    assert found.model == name and found.mask_iou > 0.8
    assert found.notices == ("earlier", f"of the models sun, moon, {name} covers the object best")


def test_each_object_of_a_picture_has_a_model_of_its_own(models):
    found = Choice(models).reconstruct_all(picture(230, 30))
    assert sorted(one.model for one in found) == ["moon", "sun"]


def test_only_the_chosen_model_is_refined(models):
    Choice(models).reconstruct(picture(230), refine_steps=7)
    assert models["sun"].refined == 7 and models["moon"].refined == 0


def test_a_batch_chooses_for_every_picture(models):
    found = Choice(models).reconstruct_batch([picture(30), picture(230)])
    assert [one.model for one in found] == ["moon", "sun"]
