"""Signals to real processes of one run: one is enough to stop all, and late ones do no harm."""

import signal

from tests.multiprocess import launch


def _start(tmp_path) -> launch.Processes:
    port = launch.free_port()
    go = str(tmp_path / "go")
    script = ["-m", "tests.multiprocess.stop_script", f"--port={port}", f"--go_file={go}"]
    return launch.Processes([[*script, f"--index={i}"] for i in range(2)])


def _have_said(processes, text):
    return lambda: all(text in processes.output(index) for index in range(2))


def test_a_signal_to_one_stops_both_at_the_same_step_and_later_ones_change_nothing(tmp_path):
    (tmp_path / "go").touch()
    with _start(tmp_path) as processes:
        processes.wait_for(_have_said(processes, "in the loop"), timeout=100)
        processes.signal(1, signal.SIGTERM)
        processes.wait_for(_have_said(processes, "saving"), timeout=100)
        processes.signal(0, signal.SIGUSR1)  # while it saves
        processes.signal(1, signal.SIGTERM)  # while it waits for the other to save
        finished = processes.wait(timeout=100)
    assert [process.code for process in finished] == [42, 42], finished
    steps = [process.output.split("saving step ")[1].split()[0] for process in finished]
    assert steps[0] == steps[1] and "Traceback" not in finished[0].output + finished[1].output


def test_outside_of_the_loop_a_process_ends_as_any_other(tmp_path):
    """jax's own handler would note the signal and go on, until somebody kills the process."""
    with _start(tmp_path) as processes:
        processes.wait_for(_have_said(processes, "before the loop"), timeout=100)
        processes.signal(1, signal.SIGTERM)
        _, ended = processes.wait(timeout=20)
    assert ended.code == -signal.SIGTERM, ended.output
