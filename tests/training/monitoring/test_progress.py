import io
import logging

import jax
import pytest

from ast_jax.training.monitoring.progress import Meter, Progress


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(progress: Progress, clock: Clock, steps: range, *, log_every: int = 10, wait: float = 0.25) -> list[dict]:
    """Steps of one second, ``wait`` of which go into waiting."""
    reports = []
    for step in steps:
        with progress.waiting():
            clock.now += wait
        clock.now += 1 - wait
        progress.advance()
        if (step + 1) % log_every == 0:
            reports.append(progress.report(step + 1, "shape", 0.35124))
    progress.close()
    return reports


def test_the_meter_counts_since_the_last_reading():
    clock = Clock()
    meter = Meter(8, clock=clock)
    for _ in range(4):
        with meter.waiting():
            clock.now += 0.5
        clock.now += 1.5
        meter.count()
    assert meter.read() == {"images_per_second": 4 * 8 / 8, "data_wait_share": 0.25}
    clock.now += 2
    meter.count()
    assert meter.read() == {"images_per_second": 4.0, "data_wait_share": 0.0}
    with pytest.raises(StopIteration), meter.waiting():  # the end of the data is waiting, too
        clock.now += 3
        raise StopIteration
    clock.now += 1
    assert meter.read()["data_wait_share"] == 0.75


def test_plain_lines_without_a_terminal(caplog):
    clock, stream = Clock(), io.StringIO()
    progress = Progress(2600, 100, 185, stream=stream, clock=clock)
    with caplog.at_level(logging.INFO, logger="absl"):
        rates = _run(progress, clock, range(100, 120), log_every=20, wait=0.004)
    assert rates == [pytest.approx({"images_per_second": 185.0, "data_wait_share": 0.004})]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "step 120/2600 shape loss 0.3512 185 img/s eta 0:41:20 waits 0.4 %"
    assert not stream.getvalue()


def test_time_left_forgets_the_compilation_and_the_saves(caplog):
    clock = Clock()
    progress = Progress(1000, 0, 4, stream=io.StringIO(), clock=clock)
    clock.now += 600  # compiling
    with caplog.at_level(logging.INFO, logger="absl"):
        _run(progress, clock, range(0, 50))
    assert "eta 0:15:50" in caplog.records[-1].getMessage()  # 950 steps of a second


def test_a_bar_on_a_terminal(caplog):
    clock, stream = Clock(), Terminal()
    with caplog.at_level(logging.INFO, logger="absl"):
        progress = Progress(40, 10, 3, stream=stream, clock=clock)
        _run(progress, clock, range(10, 20))
    last = stream.getvalue().replace("\n", "").split("\r")[-1]
    assert "50%" in last and "20/40" in last
    assert "shape loss 0.3512 3.0 img/s eta 0:00:20" in last
    assert not caplog.records


def test_other_processes_are_silent_but_measure(caplog, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    for stream in (Terminal(), io.StringIO()):
        clock = Clock()
        with caplog.at_level(logging.INFO, logger="absl"):
            reports = _run(Progress(40, 0, 2, stream=stream, clock=clock), clock, range(0, 10))
        assert reports == [{"images_per_second": 2.0, "data_wait_share": 0.25}]
        assert not stream.getvalue() and not caplog.records
