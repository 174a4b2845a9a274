"""One owner of a folder: refused while it lives, free at once when it is dead, on this machine and on others."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ast_jax.process import ownership
from ast_jax.process.command_line import in_one_line
from ast_jax.process.ownership import FILE_NAME, AlreadyOwned, Owner, claim, hand_over, is_owned, owning, release

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from ast_jax.process.ownership import owning
with owning(sys.argv[1]):
    print("in", flush=True)
    time.sleep(60)
"""
ENTER = """
import sys
from ast_jax.process.ownership import owning
sys.stdin.read()
with owning(sys.argv[1]):
    print("in")
"""


def _hold(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    return process


def _leave(folder: Path, owner: Owner, age_seconds: float = 0.0) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, times=(time.time() - age_seconds,) * 2)


def _elsewhere() -> Owner:
    return replace(Owner.of_process(1), machine="0" * 8, host="node7")


def test_a_second_process_is_refused_and_a_killed_one_does_not_block(tmp_path):
    process = _hold(tmp_path)
    try:
        with pytest.raises(AlreadyOwned, match=rf"process {process.pid} on .* is at work there") as refused:
            claim(tmp_path)
        assert "\n" not in str(refused.value) and is_owned(tmp_path)
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / FILE_NAME).is_file() and not is_owned(tmp_path)
    began = time.monotonic()
    with owning(tmp_path):
        assert is_owned(tmp_path)
    assert time.monotonic() - began < 5 and not (tmp_path / FILE_NAME).exists()


def test_a_process_that_waits_comes_next(tmp_path):
    process, entered = _hold(tmp_path), threading.Event()

    def wait():
        with owning(tmp_path, wait=True):
            entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    thread.join(timeout=30)
    assert entered.is_set()


def test_another_process_with_the_same_number_is_not_taken_for_the_owner(tmp_path):
    _leave(tmp_path, replace(Owner.of_process(os.getpid()), start="1"))
    assert not is_owned(tmp_path)
    with owning(tmp_path):
        pass


@pytest.mark.parametrize("age_seconds", [0, 10 * ownership.OLD_SECONDS])
def test_an_owner_elsewhere_that_does_not_renew_its_file_is_dead(tmp_path, monkeypatch, age_seconds):
    monkeypatch.setattr(ownership, "WATCH_SECONDS", 0.5 if not age_seconds else 1e9)  # an old one is not watched
    _leave(tmp_path, _elsewhere(), age_seconds)
    with owning(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())["pid"] == os.getpid()


def test_an_owner_elsewhere_that_renews_its_file_is_let_be(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "WATCH_SECONDS", 30.0)
    _leave(tmp_path, _elsewhere(), age_seconds=5)
    assert is_owned(tmp_path)
    timer = threading.Timer(0.5, os.utime, [tmp_path / FILE_NAME])
    timer.start()
    with pytest.raises(AlreadyOwned, match="process 1 on node7, since"):
        claim(tmp_path)
    timer.join()


def test_the_owner_renews_its_file_and_notices_that_it_lost_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0.05)
    with owning(tmp_path):
        first, end = (tmp_path / FILE_NAME).stat().st_mtime_ns, time.monotonic() + 30
        while (tmp_path / FILE_NAME).stat().st_mtime_ns == first:
            assert time.monotonic() < end
            time.sleep(0.05)
        ownership.check_owned(tmp_path)
        _leave(tmp_path, _elsewhere())
        with pytest.raises(RuntimeError, match="taken over by process 1 on node7"):
            ownership.check_owned(tmp_path)
    assert (tmp_path / FILE_NAME).is_file()  # the other's


def test_a_child_owns_what_was_handed_over_and_enters_it(tmp_path):
    owner = claim(tmp_path)
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", ENTER, tmp_path], cwd=ROOT, **pipes)
    child = hand_over(tmp_path, owner, process.pid)
    with pytest.raises(AlreadyOwned, match=f"process {process.pid} "):
        claim(tmp_path)
    assert process.communicate()[0] == b"in\n"
    release(tmp_path, child.token)
    assert not (tmp_path / FILE_NAME).exists()


def test_a_file_cut_short_blocks_nobody_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "WATCH_SECONDS", 0.5)
    (tmp_path / FILE_NAME).write_text('{"host": "no')
    with owning(tmp_path):
        pass


def _take(folder: Path, start, results) -> None:
    start.wait()
    try:
        claim(folder)
        results.put(os.getpid())
        time.sleep(1)
    except AlreadyOwned:
        results.put(None)


def test_of_many_that_find_a_dead_owner_one_takes_its_place(tmp_path):
    process = _hold(tmp_path)
    process.kill()
    process.wait()
    context = multiprocessing.get_context("forkserver")
    start, results = context.Event(), context.Queue()
    others = [context.Process(target=_take, args=(tmp_path, start, results)) for _ in range(4)]
    for other in others:
        other.start()
    start.set()
    assert sum(results.get(timeout=60) is not None for _ in others) == 1
    for other in others:
        other.join()


def test_a_file_or_a_dangling_link_in_the_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "data").symlink_to(tmp_path / "gone")

    def main(argv):
        with owning(tmp_path / "data"):
            raise AssertionError("it was made")

    with pytest.raises(SystemExit, match="error: .*data: a folder is to be made there, but a file or a link"):
        in_one_line(main, [])
