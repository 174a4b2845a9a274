"""The HTML report: everything inside, everything escaped, and alive in a real browser."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from ast_jax.export import (
    Curves,
    Gallery,
    Headline,
    ObjectRow,
    Pictures,
    Table,
    Text,
    encode_glb,
    write_report,
)
from render import FaceTexels

NASTY = "<script>alert('x')</script> & \"quotes\""
SPHERE = trimesh.creation.icosphere(subdivisions=1)


def red_sphere() -> bytes:
    texels = np.broadcast_to([1.0, 0.0, 0.0], (len(SPHERE.faces), 2, 2, 3))
    return encode_glb(np.asarray(SPHERE.vertices) * 0.5, np.asarray(SPHERE.faces), texture=FaceTexels(texels[None]))


def plain_picture(colour: tuple[int, int, int], size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


class Page(HTMLParser):
    """Every start tag with its attributes, and all text, as a browser's parser sees them."""

    def __init__(self, markup: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def write_example(path: Path, **row) -> str:
    item = ObjectRow(NASTY, plain_picture((0, 255, 0)), red_sphere(), metrics={NASTY: 0.5}, **row)
    write_report(
        path,
        NASTY,
        Headline([(NASTY, 0.61234, NASTY)]),
        Text(NASTY, [NASTY]),
        Table(NASTY, [NASTY, "IoU"], [[NASTY, 0.25], ["chair", None], ["car", float("nan")]], note=NASTY),
        Curves(NASTY, {NASTY: {NASTY: ([0, 1], [1.0, 0.5])}}),
        Pictures(NASTY, [(NASTY, plain_picture((0, 0, 255)))]),
        Gallery(NASTY, [item], note=NASTY),
        subtitle=NASTY,
    )
    return path.read_text()


def test_text_is_escaped_everywhere(tmp_path):
    markup = write_example(tmp_path / "report.html", views=[(NASTY, plain_picture((9, 9, 9)), None)])
    page = Page(markup)
    assert "alert('x')" not in markup
    assert page.text.count(NASTY) >= 14
    # our own scripts only: one mesh, the viewer, the few lines that load meshes
    assert sum(tag == "script" for tag, _ in page.tags) == 3


def test_nothing_is_fetched(tmp_path):
    page = Page(write_example(tmp_path / "report.html"))
    for tag, attributes in page.tags:
        for name in ("src", "href", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "http" not in policy


def test_pictures_and_meshes_come_back_unchanged(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_report(
        tmp_path / "r.html",
        "t",
        Pictures("", [("", picture)]),
        Gallery("", [ObjectRow("o", picture, red_sphere())]),
    )
    markup = (tmp_path / "r.html").read_text()
    encoded = re.findall(r"data:image/png;base64,([^\"]+)", markup)
    assert len(encoded) == 2
    for text in encoded:
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))), picture)
    mesh = re.search(r'id="glb-0">([^<]+)<', markup).group(1)
    assert base64.b64decode(mesh) == red_sphere()


def test_numbers_are_readable(tmp_path):
    rows = [
        ["a", 0.61234],
        ["b", 0.000123],
        ["c", 12345.6],
        ["d", None],
        ["e", float("nan")],
        ["f", 7],
        ["g", 0.0],
    ]
    write_report(tmp_path / "r.html", "t", Table("", ["", ""], rows))
    cells = re.findall(r"<td>([^<]*)</td>", (tmp_path / "r.html").read_text())
    assert cells[1::2] == ["0.612", "0.000123", "1.23e+04", "–", "–", "7", "0.000"]


def test_page_without_meshes_carries_no_viewer(tmp_path):
    write_report(tmp_path / "r.html", "t", Text("a", ["b"]))
    assert (tmp_path / "r.html").stat().st_size < 20_000


def test_animated_gif_is_embedded_as_it_is(tmp_path):
    buffer = io.BytesIO()
    frames = [Image.fromarray(plain_picture((i * 60, 0, 0))) for i in range(3)]
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:])
    write_report(tmp_path / "r.html", "t", Pictures("", [("turntable", buffer.getvalue())]))
    (encoded,) = re.findall(r"data:image/gif;base64,([^\"]+)", (tmp_path / "r.html").read_text())
    assert base64.b64decode(encoded) == buffer.getvalue()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (Gallery("", [ObjectRow("cup", plain_picture((0, 0, 0)), b"not a mesh")]), "cup.*GLB"),
        (Pictures("", [("my caption", b"nonsense")]), "my caption"),
        (Pictures("", [("my caption", np.zeros((4, 4, 5), np.uint8))]), "my caption.*4, 5"),
    ],
)
def test_bad_content_is_named(tmp_path, section, message):
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path / "r.html", "t", section)
    assert not (tmp_path / "r.html").exists()
