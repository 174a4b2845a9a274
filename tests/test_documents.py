"""What the front page and the documents say holds: their Python runs, their links lead somewhere, their facts agree."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from benchmarks.notebook import LARGEST, NOTEBOOK, code_cells, run_notebook

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ast_jax/models/*/card.md")]


def _python_of(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_front_page_runs(tmp_path, monkeypatch):
    reconstruct, draw = _python_of("README.md")
    with Image.open(ROOT / "docs" / "images" / "photographs.png") as photographs:
        photographs.crop((905, 1020, 1030, 1140)).convert("RGB").save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    exec(compile(reconstruct, "README.md", "exec"), {})
    assert trimesh.load(tmp_path / "bird.glb", force="mesh").vertices.shape[1] == 3
    variables: dict = {}
    exec(compile(draw, "README.md", "exec"), variables)
    ball, gradient = 0.4 * variables["vertices"], np.asarray(variables["gradient"])[0]
    # The cone that touches a ball of radius r from distance d cuts the image plane in a disc of tan(asin(r / d)).
    share = np.pi / 4 * (np.tan(np.arcsin(0.4 / 2.732)) / np.tan(0.42 / 2)) ** 2
    assert float(variables["coverage"].mean()) == pytest.approx(share, rel=0.03)
    # A larger ball covers more pixels: the gradient of the coverage points outwards.
    assert np.sum(gradient * ball) > 0 and np.isfinite(gradient).all()


def test_the_notebook_runs():
    """With few steps the numbers are not those of the page, but every cell runs and shows the same kinds of things."""
    notebook, left = run_notebook(steps=3)
    assert left["after"] > left["before"] and left["result"].mask_iou > 0.8
    assert np.isfinite(left["points"]).all() and not (NOTEBOOK.parent / "bird.glb").exists()
    stored = code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    for ran, kept in zip(code_cells(notebook), stored, strict=True):
        assert [_kind(output) for output in ran["outputs"]] == [_kind(output) for output in kept["outputs"]]


def test_the_stored_notebook_is_small_and_whole():
    cells = code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert NOTEBOOK.stat().st_size <= LARGEST
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))


def _kind(output: dict) -> list[str]:
    return sorted(output.get("data", {"text": None}))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert not [link for link in links if not (document.parent / link).exists()]


def test_the_citation_is_that_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "README.md"))
    assert f"\nversion: {project['version']}\n" in citation and f"\nlicense: {project['license']}\n" in citation
    assert f"version = {{{project['version']}}}" in readme
    for family, given in re.findall(r"(\w+), (\w+)(?: and |\})", re.search(r"author +=(.*Tang.*)", readme)[1]):
        assert f"given-names: {given}, family-names: {family} " in citation
