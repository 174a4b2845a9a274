"""Turntables: what is seen from where, and files that other programs read back."""

import io

import numpy as np
import pytest
from PIL import Image

from ast_jax.export import draw_views, encode_gif, render_turntable, write_gif
from render import FaceTexels, icosphere, orbit

VERTICES, FACES = icosphere(2)
VERTICES = (VERTICES * 0.5).astype(np.float32)
SIZE = (48, 48)


def coloured_by_side() -> FaceTexels:
    """Red towards +Z, green towards +X, blue elsewhere."""
    centre = VERTICES[FACES].mean(1)
    texels = np.zeros((len(FACES), 1, 1, 3), np.float32)
    texels[..., 2] = 1.0
    texels[centre[:, 2] > 0.3] = [1, 0, 0]
    texels[centre[:, 0] > 0.3] = [0, 1, 0]
    return FaceTexels(texels[None])


def test_turn_starts_in_front_and_goes_towards_plus_x():
    frames = render_turntable(VERTICES, FACES, coloured_by_side(), num_frames=4, image_size=SIZE, elevation_rad=0.0)
    assert frames.shape == (4, *SIZE, 3) and frames.dtype == np.uint8
    middle = frames[:, 24, 24]
    np.testing.assert_array_equal(middle, [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 255]])
    np.testing.assert_array_equal(frames[:, 0, 0], 255)


def test_outline_is_antialiased_and_has_the_right_area():
    camera = orbit(2.732, 0.3, np.zeros(1), np.pi / 6)
    drawn = draw_views(VERTICES, FACES, camera, colour=(0.0, 0.0, 0.0), image_size=SIZE)[0]
    coverage = 1 - drawn[..., 0] / 255.0
    assert len(np.unique(coverage)) >= 5
    # a ball of radius r at distance d looks like a disc of radius r / sqrt(d^2 - r^2) in the image plane
    radius_px = 0.5 / np.sqrt(2.732**2 - 0.25) / np.tan(np.pi / 12) * 24
    # the icosphere lies inside the ball: 2 % less in area at this level
    assert 0.96 < coverage.sum() / (np.pi * radius_px**2) < 1.0


def test_mesh_without_colours_is_grey_and_lit_from_the_eye():
    camera = orbit(2.732, 0.3, np.zeros(1), np.pi / 6)
    drawn = draw_views(VERTICES, FACES, camera, image_size=SIZE)[0].astype(int)
    assert (drawn.max(-1) - drawn.min(-1)).max() <= 1
    assert drawn[24, 24, 0] > 200 > drawn[24, 11, 0]


def test_wide_picture_keeps_proportions():
    wide = render_turntable(VERTICES, FACES, coloured_by_side(), num_frames=1, image_size=(48, 80), elevation_rad=0.0)[
        0
    ]
    inside = (wide != 255).any(-1)
    assert abs(int(inside.any(0).sum()) - int(inside.any(1).sum())) <= 1


def test_texture_and_colour_exclude_each_other():
    camera = orbit(2.732, 0.3, np.zeros(1), np.pi / 6)
    with pytest.raises(ValueError, match="not both"):
        draw_views(VERTICES, FACES, camera, texture=coloured_by_side(), colour=(0.0, 0.0, 0.0))


def striped_frames(num: int) -> np.ndarray:
    frames = np.zeros((num, 17, 24, 3), np.uint8)
    for index in range(num):
        frames[index, :, index * 3 : index * 3 + 3] = [250, 100, 20]
    return frames


def test_gif_reads_back(tmp_path):
    frames = striped_frames(6)
    write_gif(tmp_path / "turn.gif", frames, seconds=1.2)
    with Image.open(tmp_path / "turn.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (6, 200, 0)
        for index, frame in enumerate(frames):
            gif.seek(index)
            np.testing.assert_allclose(np.asarray(gif.convert("RGB")).astype(int), frame.astype(int), atol=2)


def test_gif_is_never_too_fast_for_browsers():
    with Image.open(io.BytesIO(encode_gif(striped_frames(8), seconds=0.01))) as gif:
        assert gif.info["duration"] >= 20
