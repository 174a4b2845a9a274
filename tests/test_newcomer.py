"""The newcomer's table of CONTRIBUTING.md holds: one of each kind is added in a copy, by the file and entry it names.

The examples are tests/newcomer/*.py, and the loss that CONTRIBUTING.md prints; tests/newcomer_script.py uses them.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import compilation

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("render", "ast_jax", "configs", "launch")
KINDS = {
    "loss", "data set", "backbone", "decoder", "texture form", "metric", "protocol", "blending rule", "camera",
    "camera that a model finds",
}  # fmt: skip
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def _examples() -> dict[str, str]:
    """kind -> the smallest file of it."""
    found = {path.stem.replace("_", " "): path.read_text() for path in (ROOT / "tests" / "newcomer").glob("*.py")}
    return found | {"loss": re.search(r"^```python\n(.*?TERMS = .*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL)[1]}


def _table() -> dict[str, tuple[str, str, str, str]]:
    """kind -> the file to write, the entry of a table, the name of that table, and its file; "" where there is none."""
    cells = [line.strip("|").split("|") for line in CONTRIBUTING.splitlines() if re.match(r"\| an? ", line)]
    quoted = [[re.findall(r"`([^`]+)`", cell) for cell in row[1:]] for row in cells]
    kinds = [row[0].strip().split(" ", 1)[1] for row in cells]
    rows = {kind: row for kind, row in zip(kinds, quoted) if kind in KINDS}
    return {
        kind: (written[0], *((entry[0], *where) if where else ("", "", "")))
        for kind, (written, entry, where) in rows.items()
    }


def _with_entry(source: str, table: str, entry: str, import_line: str) -> str:
    """The source with an entry at the end of a dict or a tuple, and with an import."""
    tree = ast.parse(source)
    targets = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == table
    ]
    assert len(targets) == 1 and isinstance(targets[0], ast.Dict | ast.Tuple), f"{table} is no table"
    lines = source.splitlines(keepends=True)
    end = sum(map(len, lines[: targets[0].end_lineno - 1])) + targets[0].end_col_offset - 1
    comma = "" if source[:end].rstrip().endswith((",", "{", "(")) else ","
    source = f"{source[:end]}{comma} {entry},{source[end:]}"
    last = max(node.end_lineno for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    lines = source.splitlines(keepends=True)
    return "".join([*lines[:last], import_line + "\n", *lines[last:]])


def _add(copy: Path, kind: str, text: str) -> None:
    """What the table says."""
    written, entry, table, where = _table()[kind]
    path = copy / written
    assert path.name == "mine.py" and not path.exists()
    path.write_text(text)
    if entry:
        uses_it = "mine." in entry
        import_line = f"from {'.'.join(Path(written).parent.parts)} import mine" if uses_it else ""
        (copy / where).write_text(_with_entry((copy / where).read_text(), table, entry, import_line))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> dict:
    """What the script saw in a copy to which one of each kind was added."""
    copy, folder = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("data")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.npz", "assets"))
    for kind, text in _examples().items():
        _add(copy, kind, text)
    script = shutil.copy(ROOT / "tests" / "newcomer_script.py", copy)
    environment = os.environ | compilation.environment() | {"JAX_PLATFORMS": "cpu"}
    ran = subprocess.run([sys.executable, script, folder], cwd=copy, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_table_has_every_kind_and_an_example_of_each():
    assert set(_table()) == KINDS == set(_examples())
    for kind in KINDS:
        written, entry, table, where = _table()[kind]
        assert bool(entry) == bool(table) == bool(where)
        assert (ROOT / written).parent.is_dir() and (not where or (ROOT / where).is_file())


def test_the_new_loss_is_weighted_and_trains_the_new_model(outcome):
    losses = outcome["losses"]
    assert {"loss/asymmetry", "loss/iou", "loss/l1", "loss/camera"} < set(losses)
    assert all(np.isfinite(value) for value in losses.values())
    # One colour and a shape of their own: the only way from the loss to the backbone is through the new parts.
    assert outcome["backbone_moved"] > 1e-5 and outcome["decoder"] == ["steps"]


def test_the_new_texture_and_camera_are_answered(outcome):
    assert outcome["texture"] == "VertexColours"
    assert len(outcome["distance"]) == 2 and np.all(np.abs(np.array(outcome["distance"]) - 2.732) < 0.5)


def test_the_new_protocol_measures_the_new_data_set_with_the_new_metric(outcome):
    assert set(outcome["metrics"]) >= {"mask_iou", "off_centre"}
    # A disc of radius 0.6 in a square of side 2, in 16 x 16 pixels.
    assert outcome["metrics"]["mask_iou"] == pytest.approx(np.pi * 0.6**2 / 4, abs=0.03)
    assert "| off centre ↓ |" in outcome["table"].splitlines()[0]


def test_the_new_rule_draws_with_the_new_camera(outcome):
    covered = outcome["covered"]
    assert covered["PerspectiveCamera"] > 0.2
    assert covered["SqueezedCamera"] == pytest.approx(covered["PerspectiveCamera"] / 2, rel=0.05)
