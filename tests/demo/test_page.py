"""The page without a server: what goes into it, and all of it in headless Chromium, opened as a file."""

import base64
import html.parser
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.photo import load_photo
from ast_jax.data.pipeline import photo_input
from ast_jax.demo import build_page
from ast_jax.demo.page import _page, read_runtime
from ast_jax.model.template import sphere
from ast_jax.pretrained.saliency import usual_weights
from ast_jax.shapes.meshes import load_mesh
from ast_jax.training.checkpoint import load_model
from tests.browser import browser, needs_browser

__all__ = ["browser"]  # a fixture
RUNTIME = os.environ.get("ONNXRUNTIME_WEB", "")
needs_runtime = pytest.mark.skipif(
    not RUNTIME, reason="ONNXRUNTIME_WEB names no package: `npm pack onnxruntime-web`, and export the path of the file"
)
FILES = {"ort.wasm.min.js": b"a", "ort-wasm-simd-threaded.mjs": b"b", "ort-wasm-simd-threaded.wasm": b"c"}


def write_package(path: Path, files: dict) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_the_runtime_is_read_from_its_package_or_its_folder(tmp_path):
    files = {f"dist/{name}": content for name, content in FILES.items()} | {"package.json": b'{"version": "1.2.3"}'}
    packed = write_package(tmp_path / "ort.tgz", files)
    for name, content in files.items():
        (tmp_path / "ort" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ort" / name).write_bytes(content)
    assert read_runtime(packed) == read_runtime(tmp_path / "ort") == FILES | {"version": b"1.2.3"}


def test_another_package_is_refused_before_anything_is_exported(tmp_path):
    other = write_package(tmp_path / "other.tgz", {"package.json": b"{}"})
    (tmp_path / "text.tgz").write_text("no archive")
    for path in (other, tmp_path / "text.tgz", tmp_path / "missing", tmp_path):
        with pytest.raises(ValueError, match="not onnxruntime-web .*npm pack onnxruntime-web"):
            build_page(tmp_path / "page", runtime=path)
    (tmp_path / "page" / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="index.html: is not of this command"):
        build_page(tmp_path / "page", runtime=other)


class Reader(html.parser.HTMLParser):
    """Scripts of a page by their number or name, and all addresses in it."""

    def __init__(self, page: str):
        super().__init__()
        self.scripts, self.addresses, self._open = {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag == "script":
            self._open = attrs.get("id", len(self.scripts))
            self.scripts[self._open] = ""

    def handle_data(self, data):
        if self._open is not None:
            self.scripts[self._open] += data

    def handle_endtag(self, tag):
        if tag == "script":
            self._open = None


def test_nothing_that_is_put_into_the_page_ends_a_script_or_looks_elsewhere():
    about = {"name": "<b>&</script>", "data": {}, "mask_network": "net", "mirror_face": None}
    runtime = 'const end = "</script><script>alert(1)</script>";\n//# sourceMappingURL=ort.map\n'
    found = Reader(_page(about, {"model": b"\x00\x01"}, runtime, "licence of <b>\n"))
    assert json.loads(found.scripts["about"]) == about
    assert base64.b64decode(found.scripts["model"])[:2] == b"\x1f\x8b"
    assert [s for s in found.scripts.values() if "alert" in s] == [
        runtime.replace("</", "<\\/").rpartition("//#")[0] + "\n"
    ]
    assert len(found.scripts) == 8 and found.addresses == ["data:,"]
    assert "{{" not in "".join(found.scripts[k] for k in ("about", "model"))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    pytest.importorskip("onnx", reason='the package onnx is not installed: pip install -e ".[test]"')
    return build_page(tmp_path_factory.mktemp("page"), runtime=RUNTIME)


def bird() -> Image.Image:
    """A body with head and beak, coloured from left to right."""
    rows, columns = np.mgrid[:180, :240]
    body = ((rows - 100) / 45) ** 2 + ((columns - 110) / 80) ** 2 < 1
    head = np.hypot(rows - 60, columns - 180) < 28
    beak = (np.abs(rows - 62) < 0.4 * (232 - columns)) & (columns > 190) & (columns < 232)
    alpha = np.where(body | head | beak, 255, 0)
    return Image.fromarray(np.stack([columns, 255 - columns, 40 + 0 * columns, alpha], -1).astype(np.uint8))


@pytest.mark.slow
@needs_browser
@needs_runtime
def test_a_photograph_becomes_a_file(page, browser, tmp_path):
    """The picture comes as in Python, the mesh is drawn, the file is what our reader reads; nobody complains."""
    bird().save(tmp_path / "bird.png")
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("document.body?.dataset.ready === 'yes'")
    browser.choose_files("#file", tmp_path / "bird.png")
    browser.wait_for("document.body.dataset.done === '1' || document.body.dataset.failed")
    assert browser.evaluate("document.body.dataset.failed") is None

    photo, (_, config) = load_photo(tmp_path / "bird.png"), load_model("bird")
    found = np.array(browser.evaluate("Array.from(astDemo.input)")).reshape(64, 64, 4)
    np.testing.assert_allclose(found, photo_input(photo.rgb, photo.mask, config.data), atol=1e-5)

    assert browser.evaluate("astDemo.result.overlap") > 0.75
    browser.wait_for("document.getElementById('viewer').loaded")
    browser.evaluate("document.getElementById('viewer').scrollIntoView()")
    # The mesh is on the right, the picture on the left; both are as colourful.
    browser.screenshot_when(lambda pixels: (np.ptp(pixels[:, 510:], axis=-1) > 60).sum() > 5_000)

    name = browser.evaluate("document.getElementById('download').download")
    address = browser.evaluate("document.getElementById('download').href")
    text = "btoa(Array.from(new Uint8Array(b), c => String.fromCharCode(c)).join(''))"
    browser.evaluate(f"fetch('{address}').then(r => r.arrayBuffer()).then(b => {{ globalThis.downloaded = {text}; }})")
    browser.wait_for("globalThis.downloaded")
    (tmp_path / name).write_bytes(base64.b64decode(browser.evaluate("downloaded")))
    mesh, faces = load_mesh(tmp_path / name), sphere(3).faces
    vertices = np.array(browser.evaluate("Array.from(astDemo.result.mesh.vertices)")).reshape(-1, 3)
    assert name == "bird.glb"
    np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[faces], atol=1e-6)
    # A cell of 14 px for each of 1,280 faces, 36 in a row.
    assert mesh.materials[0].image.shape[:2] == (504, 504) and mesh.corner_uv.shape == (1280, 3, 2)
    assert browser.complaints == []


@pytest.mark.slow
@needs_browser
@needs_runtime
@pytest.mark.skipif(usual_weights() is None, reason='no mask network: pip install "ast-jax[photo]"')
def test_a_mask_is_found_and_corrected(page, browser, tmp_path):
    """Before a background of many colours the network finds the bird; the brush takes a part of it away."""
    picture = bird()
    ground = np.random.default_rng(0).integers(90, 170, (6, 8, 3)).astype(np.uint8)
    scene = Image.fromarray(ground).resize(picture.size, Image.Resampling.BICUBIC)
    scene.paste(picture, mask=picture.getchannel("A"))
    scene.save(tmp_path / "scene.png")
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("document.body?.dataset.ready === 'yes'")
    browser.choose_files("#file", tmp_path / "scene.png")
    browser.wait_for("document.body.dataset.done === '1' || document.body.dataset.failed")
    mask = np.array(browser.evaluate("Array.from(astDemo.mask)")).reshape(180, 240) > 0.5
    wanted = np.asarray(picture)[..., 3] > 0
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.8

    browser.evaluate("document.querySelector('input[value=erase]').click()")
    frame = "document.getElementById('picture').getBoundingClientRect()"
    left, top, width = (browser.evaluate(f"{frame}.{side}") for side in ("left", "top", "width"))
    scale = width / 240
    browser.mouse("mousePressed", left + 20 * scale, top + 100 * scale)
    for x in range(20, 61, 10):
        browser.mouse("mouseMoved", left + x * scale, top + 100 * scale)
    browser.mouse("mouseReleased", left + 60 * scale, top + 100 * scale)
    after = np.array(browser.evaluate("Array.from(astDemo.mask)")).reshape(180, 240) > 0.5
    assert mask[100, 45] and not after[100, 45] and after[100, 120]
    browser.evaluate("document.getElementById('again').click()")
    browser.wait_for("document.body.dataset.done === '2'")
    assert browser.complaints == []
