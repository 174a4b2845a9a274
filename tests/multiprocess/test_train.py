"""Two real processes train one model on a mesh over both; one is killed; one or two others go on."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from ast_jax.training.monitoring.metrics import read_metrics
from tests.multiprocess import launch


def _command(tmp_path, workdir, *flags: str) -> list[str]:
    return [
        "-m", "launch.train", "--config=tests/multiprocess/tiny.py", f"--workdir={workdir}", "--noreport",
        f"--config.data.root={tmp_path / 'data'}", *flags,
    ]  # fmt: skip


def _alone(tmp_path, workdir, *flags: str) -> str:
    command = [sys.executable, *_command(tmp_path, workdir, "--cpu_devices=4", *flags)]
    result = subprocess.run(command, cwd=launch.ROOT, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stderr


def _together(tmp_path, workdir) -> launch.Processes:
    port = launch.free_port()
    hands = ([*launch.by_hand(port, 2, i), "--cpu_devices=2", "--expect_devices=4"] for i in range(2))
    return launch.Processes([_command(tmp_path, workdir, *flags) for flags in hands])


def _losses(workdir) -> list[float]:
    return [line["loss"] for line in read_metrics(workdir)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run that nothing disturbs, in one process."""
    folder = tmp_path_factory.mktemp("straight")
    _alone(folder, folder / "run")
    return folder


def _has_step(workdir, step: int) -> bool:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return any(line.endswith("}") and json.loads(line)["step"] >= step for line in lines)


def test_killed_among_two_and_continued_by_one_or_two(straight, tmp_path):
    (tmp_path / "data").symlink_to(straight / "data")
    killed = tmp_path / "killed"
    with _together(tmp_path, killed) as processes:
        processes.wait_for(lambda: _has_step(killed, 7), timeout=500)
        processes.signal(1, signal.SIGKILL)
    saved = [path for path in (killed / "checkpoints").iterdir() if path.name.isdigit()]
    assert saved and not (killed / "DONE").exists()

    by_one, by_two = tmp_path / "by_one", tmp_path / "by_two"
    for copy in (by_one, by_two):
        shutil.copytree(killed, copy)
    said = _alone(tmp_path, by_one)
    assert "steps 4 to 12" in said or "steps 8 to 12" in said, said[-3000:]
    with _together(tmp_path, by_two) as processes:
        finished = processes.wait(timeout=500)
    assert [process.code for process in finished] == [0, 0], finished
    expected = _losses(straight / "run")
    assert len(expected) == 12
    for run in (by_one, by_two):
        np.testing.assert_allclose(_losses(run), expected, rtol=1e-6)
        assert (run / "DONE").read_text() == "12\n"


def test_a_signal_to_one_saves_in_both(straight, tmp_path):
    (tmp_path / "data").symlink_to(straight / "data")
    run = tmp_path / "run"
    with _together(tmp_path, run) as processes:
        processes.wait_for(lambda: _has_step(run, 1), timeout=500)
        processes.signal(1, signal.SIGTERM)
        finished = processes.wait(timeout=200)
    assert {process.code for process in finished} == {42}, finished
    saved = [int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()]
    assert max(saved) == 10  # where the two asked each other next
