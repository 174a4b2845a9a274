"""The report in a real browser, driven through its debugging pipe: meshes load and are drawn."""

import numpy as np
import trimesh

from ast_jax.export import Gallery, ObjectRow, Text, encode_glb, write_report
from render import FaceTexels
from tests.browser import browser, needs_browser

__all__ = ["browser"]  # a fixture


def ball(colour: list[float]) -> bytes:
    sphere = trimesh.creation.icosphere(subdivisions=1)
    texels = np.ascontiguousarray(np.broadcast_to(colour, (len(sphere.faces), 2, 2, 3)))
    return encode_glb(np.asarray(sphere.vertices) * 0.5, np.asarray(sphere.faces), texture=FaceTexels(texels[None]))


@needs_browser
def test_meshes_are_drawn(browser, tmp_path):
    """Two meshes in the window are loaded, two far below only after scrolling; they have their colours."""
    picture = np.full((8, 8, 3), 128, np.uint8)
    red, blue = ball([1.0, 0.0, 0.0]), ball([0.0, 0.0, 1.0])
    top = Gallery("", [ObjectRow("first", picture, red, red)])
    bottom = Gallery("", [ObjectRow("last", picture, blue, blue)])
    write_report(tmp_path / "report.html", "t", top, Text("", ["."] * 200), bottom)

    browser.call("Page.navigate", url=(tmp_path / "report.html").as_uri())
    browser.wait_for("document.body?.dataset.ready === '2'")
    assert browser.evaluate("document.body.dataset.viewers") == "4"
    pixels = browser.screenshot_when(lambda p: count(p, channel=0) > 10_000)
    assert count(pixels, channel=2) == 0
    assert browser.evaluate("document.body.dataset.ready") == "2"

    browser.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    browser.wait_for("document.body.dataset.ready === '4'")
    browser.screenshot_when(lambda p: count(p, channel=2) > 10_000)
    assert browser.evaluate("document.body.dataset.failed") is None
    assert browser.complaints == []
    browser.evaluate("console.error('probe')")
    browser.evaluate("1")
    assert len(browser.complaints) == 1  # complaints would have been heard


def count(pixels: np.ndarray, channel: int) -> int:
    """Pixels in which one primary colour stands alone."""
    others = np.delete(pixels, channel, axis=-1)
    return int(((pixels[..., channel] > 100) & (others < 80).all(-1)).sum())
