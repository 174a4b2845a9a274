"""The commands of the README, as a user types them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.multiprocess import launch

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "configs").glob("*.py"))]


def _run(*args: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | environment,
    )


def _commands() -> list[list[str]]:
    found = []
    for document in DOCUMENTS:
        for line in re.findall(r"python -m (launch\.[^`\n&|]*)", re.sub(r"\\+\n", " ", document.read_text())):
            found.append(shlex.split(line.split("  #")[0].rstrip(" .:\"'")))
    return found


def test_the_quickstart_from_nothing_to_files(tmp_path):
    command = ["launch.train", "--config=configs/quickstart.py:tiny", f"--workdir={tmp_path / 'run'}"]
    result = _run(*command, f"--config.data.root={tmp_path / 'data'}")
    assert result.returncode == 0, result.stderr[-2000:]
    assert all(f"{stage} step, shape: compiled in" in result.stderr for stage in ("shape", "joint"))
    named = result.stdout.split("open these:")[1].split()
    assert {Path(name).suffix for name in named} == {".html", ".png", ".glb", ".gif", ".json", ".md"}
    assert all(Path(name).stat().st_size for name in named)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert all(
        0 < metrics[name]["iou_3d"]["mean"] < 1
        for name in ("MLP on the global feature + learned steps", "template sphere")
    )
    _evaluate_on_two_processes(tmp_path / "run")


def _evaluate_on_two_processes(workdir):
    """Orbax loads with all of them together; one writes."""
    port, command = launch.free_port(), ["-m", "launch.evaluate", f"--checkpoint={workdir}"]
    first, second = launch.run([[*command, *launch.by_hand(port, 2, index)] for index in range(2)], timeout=600)
    assert first.code == second.code == 0, first.output + second.output
    assert "open these:" in first.output and "open these:" not in second.output


@pytest.mark.slow
def test_a_full_disk_ends_with_one_line_and_loses_nothing(tmp_path):
    """A limit on the size of a file stands in for the full disk: both fail in the middle of writing the weights."""
    command = [
        "launch.train",
        "--config=configs/quickstart.py:tiny,shape=mlp",
        f"--workdir={tmp_path / 'run'}",
        "--noreport",
    ]
    command += [f"--config.data.root={tmp_path / 'data'}", "--config.checkpoint_every=2"]
    command += ["--config.optimizer.name=adamw", "--config.model.texture.kind=none"]  # less to compile
    assert _run(*command, "--config.stages=(('shape', 2), ('joint', 0))").returncode == 0
    change = ["--config.stages=(('shape', 6), ('joint', 0))", "--allow_config_change"]
    shell = f"ulimit -f 100; exec {shlex.join([sys.executable, '-m', *command, *change])}"
    full = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert full.returncode == 1
    assert full.stderr.strip().splitlines()[-1].startswith("error: could not save a checkpoint (")
    assert "Traceback" not in full.stderr
    again = _run(*command, *change)
    assert again.returncode == 0 and "steps 2 to 6" in again.stderr, again.stderr[-2000:]


@pytest.mark.parametrize(
    "change, says",
    [
        ("--config.optimizer.learning_rat=1", "learning_rate"),
        ("--config.model.shape.kind=transformr", "transformer"),
        ("--config.data.source=prepared", "prepare_data"),
        ("--config.batch_size=-8", "batch_size"),
    ],
)
def test_a_wrong_config_ends_with_one_line(tmp_path, change, says):
    command = ["launch.train", "--config=configs/quickstart.py:tiny", f"--workdir={tmp_path}", change]
    result = _run(*command, f"--config.data.root={tmp_path / 'data'}")
    assert result.returncode != 0
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_documented_commands_use_flags_that_exist():
    commands = _commands()
    assert len(commands) >= 6
    known = {}
    for module, *flags in commands:
        if module not in known:
            known[module] = _run(module, "--helpfull").stdout
        for flag in flags:
            name = re.match(r"--(?:no)?([a-z_]+)", flag)
            assert name and re.search(rf"--(\[no\])?{name[1]}\b", known[module]), f"{module} has no {flag}"
