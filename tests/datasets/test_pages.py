"""Every data set has its page, with the commands that read it and a contact sheet that is made by a script."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.datasets import DATASETS
from ast_jax.datasets.jobs import RENDERED
from benchmarks.data_sheets import SHEETS, draw_sheet

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", [*RENDERED, *DATASETS])
def test_every_data_set_has_a_page(name):
    assert f"data/{name}.md" in (DOCS / "data.md").read_text()
    text = (DOCS / "data" / f"{name}.md").read_text()
    assert f"--dataset={name}" in text
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (DOCS / "data" / link).is_file(), link


@pytest.mark.parametrize("name", DATASETS)
def test_every_published_data_set_has_a_small_sheet(name):
    assert name in SHEETS
    path = DOCS / "images" / "data" / f"{name}.png"
    assert path.stat().st_size < 300_000
    assert f"images/data/{name}.png" in (DOCS / "data" / f"{name}.md").read_text()


def test_the_script_draws_the_sheet_of_the_page(capsys):
    drawn = draw_sheet("shapenet_dvr")
    page = Image.open(DOCS / "images" / "data" / "shapenet_dvr.png")
    np.testing.assert_array_equal(np.asarray(drawn.convert("RGB")), np.asarray(page.convert("RGB")))
    assert "3 of 3 sampled objects read well" in capsys.readouterr().out
