"""Arrays come back as `numpy.savez` wrote them; numpy itself is the oracle."""

import numpy as np
import pytest

from ast_jax.files.npz import load_npz

ARRAYS = {
    "scalar": np.float32(3.5),
    "empty": np.zeros((0, 4), np.int16),
    "flags": np.array([True, False]),
    "half": np.arange(6, dtype=np.float16).reshape(1, 2, 3),
    "swapped": np.arange(4, dtype=">u4"),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "words": np.array(["wing", "tail"]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_as_numpy_reads_it(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    found = load_npz(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert set(found) == set(file)
        for name in file:
            np.testing.assert_array_equal(found[name], file[name], strict=True)
    found["half"][0, 0, 0] = 1  # may be written to


def test_plain_headers_need_no_parser(tmp_path, monkeypatch):
    """Python's `ast` is not safe among threads before 3.11.10 and 3.12.5: python/cpython#106905."""

    def refuse(*args, **kwargs):
        raise AssertionError("the parser was used")

    np.savez(tmp_path / "a.npz", **ARRAYS)
    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", refuse)
    assert set(load_npz(tmp_path / "a.npz")) == set(ARRAYS)


def test_other_headers_are_left_to_numpy(tmp_path):
    rows = np.array([(1, 2.0)], dtype=[("count", "i4"), ("size", "f8")])
    np.savez(tmp_path / "a.npz", rows=rows)
    np.testing.assert_array_equal(load_npz(tmp_path / "a.npz")["rows"], rows, strict=True)
