"""What the page of this machine does with a photograph, strokes of its brush, and a model."""

import sys
import urllib.request

import numpy as np
import pytest
import trimesh
from PIL import Image

from ast_jax.data.crop import Box
from ast_jax.demo import app
from ast_jax.pretrained.saliency import DoubtfulMask
from ast_jax.reconstruction import Reconstructor
from tests.browser import Browser, needs_browser
from tests.reconstruction.test_scene import planted

ORANGE, BLUE = (213, 94, 0, 255), (0, 114, 178, 255)
RGB = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
MASK = np.zeros((40, 60), np.uint8)
MASK[10:30, 20:50] = 255


class KnowsOneBall(Reconstructor):
    def __init__(self):
        pass  # it has no model

    def reconstruct(self, rgb, mask, **options):
        self.seen = rgb, mask, options
        return planted((0.4, -0.1, -3.0), 0.7, Box(90.0, 40.0, 70.0))


def doubts(rgb):
    raise DoubtfulMask("which of them?", np.full(rgb.shape[:2], 0.25))


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr(app, "load", lambda name: KnowsOneBall())
    return app.Page(["ball"], find_object=doubts)


def stroke(colour, rows, columns, shape=(40, 60)):
    layer = np.zeros((*shape, 4), np.uint8)
    layer[rows, columns] = colour
    return layer


def test_strokes_add_and_take_away_in_their_order():
    layers = [stroke(ORANGE, slice(0, 5), slice(0, 5)), stroke(BLUE, slice(3, 15), slice(0, 60))]
    mask = app.corrected(MASK / np.float32(255), layers)
    wanted = MASK > 0
    wanted[:5, :5] = True
    wanted[3:15] = False
    np.testing.assert_array_equal(mask, wanted)
    twice = stroke(BLUE, slice(6, 30), slice(0, 120), shape=(80, 120))  # an editor that shows the photograph larger
    np.testing.assert_array_equal(app.corrected(mask, [twice])[3:15], 0)


def test_the_object_is_coloured_and_the_rest_is_the_photograph(page):
    shown, found, told = page.find(Image.fromarray(np.dstack([RGB, MASK])))
    assert "alpha channel" in told
    np.testing.assert_array_equal(found.mask > 0.5, MASK > 0)
    np.testing.assert_array_equal(shown[:10], 255)  # what is transparent is white
    wanted = (RGB[10:30, 20:50] + np.array(ORANGE[:3])) / 2
    np.testing.assert_allclose(shown[10:30, 20:50], wanted, atol=1)
    assert page.find(None) == (None, None, "")


def test_what_is_doubtful_or_not_found_can_be_painted(page):
    _, found, told = page.find(Image.fromarray(RGB))
    assert "doubtful" in told
    with pytest.raises(ValueError, match="Nothing is marked"):
        page.reconstruct({"layers": []}, found, "ball", 0)
    painted = {"layers": [stroke(ORANGE, slice(5, 20), slice(5, 20))]}
    _, _, files, words = page.reconstruct(painted, found, "ball", 20)
    rgb, mask, options = page._model("ball").seen
    assert (mask > 0.5).sum() == 15 * 15 and options["refine_steps"] == 20
    np.testing.assert_allclose(rgb, RGB / 255, atol=1e-6)
    assert "overlap with the mask: **1**" in words
    assert {"object.glb", "object.obj", "object.json", "object.png"} < {name.rsplit("/")[-1] for name in files}
    with pytest.raises(ValueError, match="Drop a photograph"):
        page.reconstruct(None, None, "ball", 0)


def test_without_gradio_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=r"ast-jax\[demo,photo\]"):
        app.serve()


@pytest.mark.slow
@needs_browser
def test_a_photograph_goes_through_the_page(page, tmp_path):
    pytest.importorskip("gradio")
    Image.fromarray(np.dstack([RGB, MASK])).save(tmp_path / "photo.png")
    served = app.make_app(page)
    _, address, _ = served.launch(prevent_thread_lock=True, quiet=True, allowed_paths=[str(page.folder)])
    browser = Browser(tmp_path / "browser")
    try:
        browser.call("Page.navigate", url=address)
        browser.wait_for("!!document.querySelector('#photo input[type=file]')")
        browser.choose_files("#photo input[type=file]", tmp_path / "photo.png")
        browser.wait_for("document.body.innerText.includes('Mask: alpha channel')")
        browser.evaluate("document.querySelector('#reconstruct').click()")
        browser.wait_for("document.body.innerText.includes('overlap with the mask')")
        browser.wait_for("!!document.querySelector('#mesh canvas')")
        link = browser.evaluate("[...document.querySelectorAll('a')].find(a => a.href.endsWith('object.glb')).href")
        content = urllib.request.urlopen(link).read()
    finally:
        browser.close()
        served.close()
    (file,) = page.folder.glob("*/object.glb")
    assert content == file.read_bytes()
    assert len(trimesh.load(file, force="mesh").faces) == 80
