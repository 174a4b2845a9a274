"""Metrics of a run: one JSON line and one TensorBoard event per logged step; pictures and text for TensorBoard."""

import json
import math
import time
from pathlib import Path

import numpy as np
from absl import logging
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # ty: ignore[missing-module-member]  # made by protobuf at import

from ast_jax.files.writing import append_lines

_FLUSH_SECONDS = 10  # between writes to the disk of what TensorBoard shows


class MetricWriter:
    """Appends to ``metrics.jsonl`` and to TensorBoard event files under a run.

    A full disk stops nothing: lines wait in memory until there is room. Events for TensorBoard, which are there twice,
    are dropped. They are written here and now: the thread of tensorboardX's own writer would die of the error, and the
    run would wait for it for ever.
    """

    def __init__(self, workdir: str | Path, *, enabled: bool = True):
        """For a run.

        Args:
          workdir: the run.
          enabled: False makes no file and writes nothing; for all processes of a run but the first.
        """
        self._enabled, self._workdir = enabled, Path(workdir)
        self._lines: list[str] = []
        self._board: EventsWriter | None = None
        self._has_warned = False
        self._flushed = 0.0
        self._start = time.time()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line: step, seconds since this process started training, and the metrics."""
        if not self._enabled:
            return
        values = {name: float(value) for name, value in metrics.items()}
        line = {"step": step, "seconds": round(time.time() - self._start, 2)}
        line |= {k: v if math.isfinite(v) else str(v) for k, v in values.items()}
        self._lines.append(json.dumps(line) + "\n")
        try:
            self.finish()
        except OSError as error:
            self._warn(error)
        self._show(step, *(summary.scalar(name, value) for name, value in values.items()))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture for TensorBoard, uint8 ``[h, w, 3]``."""
        self._show(step, summary.image(name, image, dataformats="HWC"))

    def text(self, step: int, name: str, markdown: str) -> None:
        """A text for TensorBoard, which shows Markdown, tables too."""
        self._show(step, summary.text(name, markdown))

    def finish(self) -> None:
        """Write the lines that wait; raises an OSError where there is still no room for them."""
        if self._lines:
            append_lines(self._workdir / "metrics.jsonl", "".join(self._lines))
            self._lines = []

    def close(self) -> None:
        """Write what is left, as far as there is room."""
        try:
            self.finish()
            if self._board is not None:
                self._board.close()
        except OSError as error:
            self._warn(error)

    def _show(self, step: int, *summaries) -> None:
        if not self._enabled:
            return
        try:
            if self._board is None:
                self._board = EventsWriter(str(self._workdir / "events"))
            for each in summaries:
                self._board.write_event(Event(step=step, wall_time=time.time(), summary=each))
            if time.time() > self._flushed + _FLUSH_SECONDS:
                self._board.flush()
                self._flushed = time.time()
        except OSError as error:
            self._board = None  # what it holds would be written behind a cut event
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            logging.warning("%s: no metrics can be written now (%s); make room.", self._workdir, error)
        self._has_warned = True


def read_metrics(workdir: str | Path) -> list[dict]:
    """Every whole line of ``metrics.jsonl``; where a run went over a step twice (a resume), the later line counts."""
    path = Path(workdir) / "metrics.jsonl"
    merged: dict[int, dict] = {}
    for text in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
            merged[line["step"]] = merged.get(line["step"], {}) | line
        except (ValueError, TypeError, KeyError):
            continue  # cut short by a crash
    return [merged[step] for step in sorted(merged)]
