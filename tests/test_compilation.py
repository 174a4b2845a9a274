"""Caches of compiled programs, which the workers of one run leave to those of the next."""

import os

import pytest

from tests import compilation


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Two workers' folders with an entry each, old enough."""
    monkeypatch.setattr(compilation, "_MOST_BYTES", 150)
    for worker, age in (("gw0", 100), ("gw1", 200)):
        (tmp_path / worker).mkdir()
        _write(tmp_path / worker / f"of_{worker}-cache", age)
    return tmp_path


def _write(path, age):
    path.write_bytes(bytes(100))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_worker_gets_the_programs_of_all(caches, monkeypatch):
    monkeypatch.setattr(compilation, "_MOST_BYTES", 200)
    compilation._share(caches)
    assert _names(caches / "gw0") == _names(caches / "gw1") == ["of_gw0-cache", "of_gw1-cache"]


def test_the_oldest_go_where_there_are_too_many(caches):
    compilation._share(caches)
    assert _names(caches / "gw0") == _names(caches / "gw1") == ["of_gw0-cache"]


def test_what_may_still_be_written_stays_where_it_is(caches):
    _write(caches / "gw1" / "of_gw1-cache", 0)
    compilation._share(caches)
    assert _names(caches / "gw1") == ["of_gw0-cache", "of_gw1-cache"] and _names(caches / "gw0") == ["of_gw0-cache"]


def test_a_flag_that_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "_IF_KNOWN", "--xla_of_another_day=false")
    assert compilation._quick_flags() == compilation._ALWAYS
