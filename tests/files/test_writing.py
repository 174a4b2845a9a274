"""Files as a whole or not at all, lines that are mended, and what dead processes leave."""

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from ast_jax.data.records import claim_folder
from ast_jax.files.output_folder import OutputFolder
from ast_jax.files.writing import (
    append_lines,
    check_can_be_written,
    remove_leftovers,
    replacing,
    write_bytes,
    write_text,
    write_texts,
)
from ast_jax.machine import machine

DIE = """
import os, sys
from ast_jax.files.writing import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("half")
    os._exit(9)
"""


@contextmanager
def full_disk(largest_file: int):
    """No file of this process may become larger; Python takes the signal and raises an OSError, as of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "metrics.json"
    write_text(path, "old")
    with full_disk(100), pytest.raises(OSError, match=f"'{path}'"):
        write_bytes(path, b"x" * 1000)
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    write_text(path, "neu: ä")
    assert path.read_text(encoding="utf-8") == "neu: ä"


def test_a_name_as_long_as_file_systems_take(tmp_path):
    path = tmp_path / ("ü" * 127)  # 254 of 255 bytes
    write_text(path, "here")
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "before, after",
    [
        (b"", b"c\n"),
        (b"a\nb\n", b"a\nb\nc\n"),
        (b"a\nb", b"a\nc\n"),
        (b"b" * 9000, b"c\n"),
        (b"a\n" + b"b" * 9000, b"a\nc\n"),
    ],
)
def test_a_line_is_never_glued_to_one_that_was_cut(tmp_path, before, after):
    path = tmp_path / "lines"
    path.write_bytes(before)
    append_lines(path, "c\n")
    assert path.read_bytes() == after


def test_an_append_to_a_full_disk_changes_nothing(tmp_path):
    path = tmp_path / "lines"
    append_lines(path, "a" * 90 + "\n")
    with full_disk(100), pytest.raises(OSError, match=f"'{path}'"):
        append_lines(path, "b" * 90 + "\n")
    append_lines(path, "c\n")
    assert path.read_text() == "a" * 90 + "\nc\n"


def test_leftovers_of_dead_processes_are_removed_and_no_others(tmp_path):
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "figures").mkdir()
    assert subprocess.run([sys.executable, "-c", DIE, tmp_path / "figures" / "a.png"], cwd=root).returncode == 9
    (left,) = (tmp_path / "figures").iterdir()
    mine = tmp_path / f".a.{machine()}-{os.getpid()}-01234567.partial"
    elsewhere = tmp_path / ".a.00000000-1-01234567.partial"
    old = tmp_path / ".b.00000000-1-01234567.partial"
    kept = [tmp_path / "a.partial", tmp_path / ".mine.partial", mine, elsewhere]
    for path in (*kept, old):
        path.write_text("")
    os.utime(old, times=(0, 0))
    remove_leftovers(tmp_path)
    assert not left.exists() and not old.exists() and all(path.exists() for path in kept)


@pytest.mark.parametrize(
    "begin", [lambda folder: claim_folder(folder, {}), OutputFolder, lambda folder: write_texts(folder, {})]
)
def test_who_goes_on_in_a_folder_removes_what_a_killed_process_left(tmp_path, begin):
    """A data set, a folder of results, and the tables of an evaluation."""
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", DIE, tmp_path / "a.png"], cwd=root).returncode == 9
    (left,) = tmp_path.iterdir()
    begin(tmp_path)
    assert not left.exists()


def test_whether_a_file_can_be_written_is_known_before(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "new", tmp_path / "file"):
        check_can_be_written(path)
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "a", r"file/a: cannot be written \(Not a directory"),
        (tmp_path / "gone" / "a", r"gone/a: cannot be written \(No such file"),
    ):
        with pytest.raises(ValueError, match=message):
            check_can_be_written(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
