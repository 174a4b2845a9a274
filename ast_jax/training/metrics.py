"""Metrics of a run: one JSON line and one TensorBoard event per logged step; pictures and text for TensorBoard."""

import json
import math
import time
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter


class MetricWriter:
    """Appends to ``metrics.jsonl`` and to TensorBoard event files under a run."""

    def __init__(self, workdir: str | Path, *, enabled: bool = True):
        """Open both files for appending.

        Args:
          workdir: the run.
          enabled: False makes no file and writes nothing; for all processes of a run but the first.
        """
        self._enabled = enabled
        if not enabled:
            return
        self._path = Path(workdir) / "metrics.jsonl"
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(workdir))
        self._start = time.time()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line: step, seconds since this process started training, and the metrics."""
        if not self._enabled:
            return
        values = {name: float(value) for name, value in metrics.items()}
        line = {"step": step, "seconds": round(time.time() - self._start, 2)}
        line |= {k: v if math.isfinite(v) else str(v) for k, v in values.items()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture for TensorBoard, uint8 ``[h, w, 3]``."""
        if self._enabled:
            self._board.add_image(name, image, step, dataformats="HWC")

    def text(self, step: int, name: str, markdown: str) -> None:
        """A text for TensorBoard, which shows Markdown, tables too."""
        if self._enabled:
            self._board.add_text(name, markdown, step)

    def close(self) -> None:
        """Write what is left."""
        if not self._enabled:
            return
        self._file.close()
        self._board.close()


def read_metrics(workdir: str | Path) -> list[dict]:
    """Every line of ``metrics.jsonl``; where a run went over a step twice (a resume), the later line counts."""
    path = Path(workdir) / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
    merged: dict[int, dict] = {}
    for line in lines:
        merged[line["step"]] = merged.get(line["step"], {}) | line
    return [merged[step] for step in sorted(merged)]
