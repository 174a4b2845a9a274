"""The kit that measures a GPU, tried on a CPU: every part reports, and what goes wrong is told."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu import expected
from benchmarks.gpu.page import Page, run_part
from benchmarks.gpu.parts import PARTS, Part, chosen_parts
from benchmarks.gpu.renderer import GOALS, chosen_cases, goal
from benchmarks.render.cases import silhouettes, spheres

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}


def test_every_part_reports(tmp_path):
    output = tmp_path / "page.md"
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", f"--output={output}", f"--workdir={tmp_path / 'gpu'}"]
    done = subprocess.run([*command, "--seconds=1500"], cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT)
    page = output.read_text()
    assert done.returncode == 0, page
    assert done.stdout == page
    sections = page.split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == [part.title for part in PARTS]
    for text in ("| memory, read and written |", "| xla | layered |", "| z-buffer, 2 x 16x16", "| shape | decoders |"):
        assert f"\n{text}" in page
    assert "3D IoU of 1 held-out birds: 0." in page and "4 of 4 steps" in page
    assert f"{len(PARTS)} of {len(PARTS)} parts done." in page and "**wrong**" not in page
    assert list((tmp_path / "gpu" / "trace").rglob("*.xplane.pb"))


def _part(code: str, tmp_path: Path) -> Part:
    (tmp_path / "made.py").write_text(code)
    return Part("made", "Made", "", 5, "made", is_ours=False)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a part of some code; gives whether it succeeded, and the page."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(code: str, seconds: float) -> tuple[bool, str]:
        page = Page(str(tmp_path / "page.md"))
        good = run_part(page, _part(code, tmp_path), seconds, tiny=False, folder=tmp_path)
        return good, (tmp_path / "page.md").read_text()

    return run


def test_a_part_that_fails_says_why(run):
    good, page = run("print('before', flush=True)\nraise ValueError('no such thing')", 60)
    assert not good and page.startswith("before\n")
    assert "**Failed** after" in page and "`ValueError: no such thing`" in page


def test_a_part_that_crashes_is_told_of(run):
    good, page = run("import os\nos.abort()", 60)
    assert not good and "exit code -6: `it said nothing`" in page


def test_a_part_that_hangs_is_ended_with_what_it_has_started(run, tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "print('begun', flush=True)\ntime.sleep(300)"
    )
    start = time.monotonic()
    good, page = run(code, 15)
    assert not good and time.monotonic() - start < 120
    assert page.startswith("begun\n") and "its time was up" in page
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/status")
    # On a busy machine a process that was ended may stay for a while.
    while _is_alive(status) and time.monotonic() - start < 120:
        time.sleep(0.1)
    assert not _is_alive(status)


def _is_alive(status: Path) -> bool:
    try:
        return "\nState:\tZ" not in status.read_text()
    except OSError:
        return False


def test_no_time_is_no_part(run):
    good, page = run("raise SystemExit", 0.5)
    assert not good and page == "Not begun: the time is up.\n"


def test_parts_have_names():
    assert [part.name for part in chosen_parts(["trace", "device"])] == ["device", "trace"]
    with pytest.raises(ValueError, match="renderer"):
        chosen_parts(["rendrer"])
    # A minute more than the eight: no part needs all of its time, and the last gets what is left.
    assert sum(part.seconds for part in PARTS) <= 560


def test_chunks_are_those_of_the_boxes_counted_one_by_one():
    """Windows of 5 x 5 pixels of every box, in chunks of as many pairs as the last power of two, at most 2^17."""
    scene = spheres(3, 1, 40)
    clip = np.asarray(scene.camera.project(scene.points), np.float64)
    pixels = (clip[..., :2] / clip[..., 3:] * [1, -1] + 1) / 2 * 40 - 0.5
    corners = pixels[:, scene.faces]
    for soft in (False, True):
        reach = np.sqrt(1e-4 * np.log(1e4 - 1)) * 20 if soft else 0.0
        first = np.clip(np.ceil(corners.min(2) - reach), 0, 39)
        last = np.clip(np.floor(corners.max(2) + reach), 0, 39)
        pairs = int(np.where((last >= first).all(-1), ((last - first) // 5 + 1).prod(-1), 0).sum())
        chunks, length = expected.count_chunks(scene, soft)
        assert length == 2 ** int(np.log2(min(2**17, 3 * 80 * 64)))
        assert chunks == -(-pairs // length)


def test_every_case_has_a_prediction_and_every_goal_has_cases():
    rows = chosen_cases(tiny=False)
    assert {row.name.split(",")[0] for row in rows} == set(expected.MODES)
    assert all(any(row.name.endswith(ending) for row in rows) for ending in GOALS)
    assert all(goal(row) for row in rows[:4]) and not any(goal(row) for row in rows[4:])
    forward, both = (expected.expect(case) for case in silhouettes(spheres(2, 1, 16)))
    assert 0 < forward.seconds < both.seconds < 1 and forward.kernels < both.kernels
