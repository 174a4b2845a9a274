"""How far the quickstart comes in its time: steps, seconds, and the 3D IoU on held-out birds.

    python -m benchmarks.gpu --parts=quickstart
    python -m benchmarks.gpu.quickstart --seconds=900

Uses the quickstart's own data, data/quickstart, if a run has made them; else it makes fewer birds first, which is not
counted: they take longer to make than the network to learn. Training is `launch.train` in a process of its own, asked
to stop by SIGTERM, upon which it saves.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app

from ast_jax.data.pipeline import DataSource
from ast_jax.evaluation.held_out import evaluate_predictions
from ast_jax.evaluation.results import summarize
from ast_jax.model.predictor import make_predictor
from ast_jax.process.outcome import EXIT_CODE
from ast_jax.shapes.birds.synthetic import ensure_dataset
from ast_jax.training.checkpoint import load_model
from ast_jax.training.monitoring.metrics import read_metrics
from benchmarks.gpu.options import folder, is_tiny, say, seconds_left

_FULL = Path("data/quickstart")
# Seconds for compiling the model once more and for comparing shapes; without so many before, training is not begun.
_TO_EVALUATE, _LEAST = 25, 20


def main(argv: list[str]) -> None:
    """Flags in, lines out."""
    del argv
    root, count, size = _data()
    if seconds_left() < _TO_EVALUATE + _LEAST and not is_tiny():
        say("Not begun: making the data took all the time.")
        return
    workdir = folder() / f"quickstart_{int(time.time())}"
    config = "configs/quickstart.py" + ":tiny,shape=mlp" * is_tiny()
    options = [f"--config={config}", f"--workdir={workdir}", "--noreport", "--config.checkpoint_every=1000000"]
    options += [f"--config.data.root={root}", f"--config.data.num_objects={count}"]
    if is_tiny():
        options += ["--config.stages=(('shape', 4),)", "--config.optimizer.name=adamw"]  # less to compile
    started = time.monotonic()
    _train(options, seconds_left() - _TO_EVALUATE)
    took = time.monotonic() - started
    model, config = load_model(workdir)
    source = DataSource(root, config.evaluation.split, config.data)
    found = evaluate_predictions(make_predictor(model), source, num_views=config.evaluation.num_views)
    score = summarize(found)["iou_3d"]
    lines = read_metrics(workdir)
    steps, total = lines[-1]["step"], sum(number for _, number in config.stages)
    say(f"- {count} birds of {size} px; {steps:,} of {total:,} steps in {took:.0f} s, start and compilation included.")
    say(f"- 3D IoU of {len(source.ids)} held-out birds: {score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}].")
    for line in lines:
        if "compile_seconds" in line or "step_seconds" in line:
            say(f"- {_cost(line)}")


def _data() -> tuple[Path, int, int]:
    """Folder, number of birds, pixels."""
    if is_tiny():
        root, count, size = folder() / "birds_tiny", 10, 32
    elif (_FULL / "dataset.json").is_file():
        root, count, size = _FULL, 480, 64
    else:
        root, count, size = folder() / "birds", 40, 64
    started = time.monotonic()
    ensure_dataset(root, num_objects=count, image_size=size)
    say(f"- The data were there, or made, in {time.monotonic() - started:.0f} s.")
    return root, count, size


def _train(options: list[str], seconds: float) -> None:
    """`launch.train` for so long; raises a RuntimeError with its last line where it fails."""
    # This process has no use for the device yet, but may have taken its share of the memory.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.train", *options], stdout=sys.stderr, stderr=sys.stderr, env=environment
    )
    try:
        code = process.wait(None if is_tiny() else seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    if code not in (0, EXIT_CODE):
        raise RuntimeError(f"launch.train ended with exit code {code}")


def _cost(line: dict) -> str:
    parts = []
    if "compile_seconds" in line:
        parts.append(f"compilation {line['compile_seconds']:.1f} s")
    if "step_seconds" in line:
        parts.append(f"{1e3 * line['step_seconds']:.1f} ms a step")
        parts.append(f"{100 * line['model_flop_utilisation']:.2g} % of the device's peak")
    return f"at step {line['step']}: {', '.join(parts)}"


if __name__ == "__main__":
    app.run(main)
