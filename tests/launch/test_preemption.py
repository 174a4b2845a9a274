"""A run that is asked to stop saves, says so by its exit code, and goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
import time

from ast_jax.training.monitoring.metrics import read_metrics
from tests.launch.test_train import ROOT

# So many that the signal comes before the end, and few enough for the same command to come there.
STEPS = 150


def _command(tmp_path) -> list[str]:
    return [
        sys.executable, "-m", "launch.train", f"--workdir={tmp_path / 'run'}",
        "--config=configs/quickstart.py:tiny,shape=mlp",
        "--noreport", f"--config.data.root={tmp_path / 'data'}", f"--config.stages=(('shape', {STEPS}), ('joint', 0))",
        "--config.log_every=1", "--config.checkpoint_every=100000",
        "--config.optimizer.name=adamw", "--config.model.texture.kind=none",
    ]  # fmt: skip


def test_a_signal_saves_and_ends_with_42(tmp_path):
    process = subprocess.Popen(_command(tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.time() + 300
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 3):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGUSR1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 42 and "asked to stop, saved step" in errors, errors[-2000:]
    (saved,) = (int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    assert saved == max(line["step"] for line in read_metrics(tmp_path / "run"))
    assert not (tmp_path / "run" / "DONE").exists()

    again = subprocess.run(_command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and f"steps {saved} to {STEPS}" in again.stderr, again.stderr[-2000:]
    assert (tmp_path / "run" / "DONE").read_text() == f"{STEPS}\n"
