"""Kill a tiny run again and again, without warning, and see that it ends as one that nobody disturbed.

    python -m benchmarks.kill_test --kills=20 --output=/tmp/kill_test

Each kill is a SIGKILL after a random time; then the same command is started again. At the end the losses of all steps
are compared, and at every kill the steps since the last save are counted. Saving goes on beside training, so that a
kill during a save loses the steps since the one before.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

_KILLS = flags.DEFINE_integer("kills", 20, "How many times.")
_OUTPUT = flags.DEFINE_string("output", "/tmp/kill_test", "Folder, made anew.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the times.")
_STEPS = flags.DEFINE_integer("steps", 1000, "Of the run.")
_SAVE_EVERY = 25
# What is tested is what lies between two steps.
_SMALL = ("--config.model.texture.kind=none", "--config.model.shape.level=2", "--config.batch_size=4")


def main(argv: list[str]) -> None:
    """Flags in, one table line per kill and the verdict out."""
    del argv
    output, rng = Path(_OUTPUT.value), random.Random(_SEED.value)
    if output.exists():
        sys.exit(f"{output}: is there already; choose another --output or remove it.")
    straight, killed = output / "straight", output / "killed"
    print(f"undisturbed: {_wait(_start(output, straight)):.0f} s")
    kills = 0
    while not (killed / "DONE").is_file():
        process = _start(output, killed)
        before = _last_step(killed)
        if kills < _KILLS.value:
            _await_progress(process, killed, before)
            time.sleep(rng.uniform(0.0, 1.5))
            process.kill()
            process.wait()
            kills += 1
            step, saved = _last_step(killed), _saved(killed)
            print(f"kill {kills} after step {step}: {saved} is saved, {step - saved} steps are lost", flush=True)
        else:
            _wait(process)
    first, second = _losses(straight), _losses(killed)
    worst = max(abs(first[step] - second[step]) / abs(first[step]) for step in first)
    print(f"{kills} kills; {len(first)} logged losses, largest relative difference {worst:.1e}")
    if first.keys() != second.keys() or worst > 1e-6:
        sys.exit("the killed run did not end as the undisturbed one")


def _start(output: Path, workdir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "launch.train", "--config=configs/quickstart.py:tiny", f"--workdir={workdir}"]
    command += ["--noreport", f"--config.data.root={output / 'data'}", f"--config.checkpoint_every={_SAVE_EVERY}"]
    command += [f"--config.stages=(('shape', {_STEPS.value}), ('joint', 0))", "--config.log_every=5", *_SMALL]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy())


def _wait(process: subprocess.Popen) -> float:
    start = time.time()
    if process.wait():
        sys.exit(f"a run ended with code {process.returncode}")
    return time.time() - start


def _await_progress(process: subprocess.Popen, workdir: Path, before: int) -> None:
    """Until the run has logged a new step, so that kills hit training and saving, not only the start."""
    while process.poll() is None and _last_step(workdir) <= before:
        time.sleep(0.05)


def _lines(workdir: Path) -> list[dict]:
    path, lines = workdir / "metrics.jsonl", []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # the line under way when the process died
    return lines


def _last_step(workdir: Path) -> int:
    return max((line["step"] for line in _lines(workdir)), default=0)


def _losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in _lines(workdir) if "loss" in line}  # others are of the validation


def _saved(workdir: Path) -> int:
    """The newest step that is whole on disk; a save under way has another name."""
    return max((int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()), default=0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    app.run(main)
