"""Traces hold the steps of the window: read back from the trace itself."""

import gzip
import json
import logging

import jax
import jax.numpy as jnp
import pytest

from ast_jax.training.monitoring.profiling import ProfileWindow


def _train(window: ProfileWindow, start: int, stop: int, *, fail_at: int = -1) -> None:
    step = jax.jit(lambda x: x + 1)
    with window as profile:
        state = jnp.zeros(3)
        for number in range(start, stop):
            with profile.step(number, state):
                state = step(state)
                if number == fail_at:
                    raise KeyboardInterrupt
        profile.close(state)


def _traced_steps(folder) -> list[int]:
    """Numbers of the step annotations in the newest trace, in the order of time."""
    files = sorted(folder.glob("plugins/profile/*/*.trace.json.gz"))
    if not files:
        return []
    events = json.loads(gzip.decompress(files[-1].read_bytes()))["traceEvents"]
    marks = [event for event in events if event.get("name") == "train" and "step_num" in event.get("args", {})]
    return [int(event["args"]["step_num"]) for event in sorted(marks, key=lambda event: event["ts"])]


@pytest.mark.parametrize(
    "start, stop, expected",
    [
        (0, 8, [2, 3, 4]),
        (3, 8, [3, 4]),  # a run that resumes within the window
        (0, 4, [2, 3]),  # a run that ends within it
        (5, 8, []),
    ],
)
def test_the_steps_of_the_window_are_traced(tmp_path, start, stop, expected):
    _train(ProfileWindow("2:5", tmp_path), start, stop)
    assert _traced_steps(tmp_path) == expected
    assert len(list(tmp_path.glob("plugins/profile/*"))) == bool(expected)


def test_a_run_that_fails_within_the_window_leaves_its_trace_and_no_profiler(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _train(ProfileWindow("2:5", tmp_path / "a"), 0, 8, fail_at=3)
    assert _traced_steps(tmp_path / "a") == [2, 3]
    _train(ProfileWindow("0:1", tmp_path / "b"), 0, 1)  # would fail were the profiler still on
    assert _traced_steps(tmp_path / "b") == [0]


def test_results_are_waited_for_before_the_trace_starts_and_ends(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax, "block_until_ready", lambda results: calls.append(("wait", results)))
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    window = ProfileWindow("1:3", tmp_path)
    for number in range(5):
        with window.step(number, f"state {number}"):
            calls.append(number)
    window.close("end")
    assert calls == [0, ("wait", "state 1"), "start", 1, 2, ("wait", "state 3"), "stop", 3, 4]


def test_no_window_and_other_processes_trace_nothing(tmp_path, monkeypatch, caplog):
    _train(ProfileWindow("", tmp_path), 0, 3)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    _train(ProfileWindow("0:2", tmp_path), 0, 3)
    assert not list(tmp_path.iterdir()) and not [r for r in caplog.records if r.levelno >= logging.WARNING]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    _train(ProfileWindow("0:2", tmp_path, all_hosts=True), 0, 3)
    assert _traced_steps(tmp_path / "process1") == [0, 1]


def test_a_window_that_no_step_was_in_is_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _train(ProfileWindow("20:25", tmp_path), 0, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "profile_steps=20:25: this run did none of these steps."
    ]


@pytest.mark.parametrize("steps", ["10", "10:", "15:10", "5:5", "a:b", "-1:3", "1:2:3"])
def test_a_wrong_window_is_refused(tmp_path, steps):
    with pytest.raises(ValueError, match="such as 10:15"):
        ProfileWindow(steps, tmp_path)
