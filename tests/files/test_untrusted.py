"""Files that lie about themselves: each costs a line, not the disk, the memory or the night."""

import dataclasses
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from ast_jax.data.record_check import check_arrays
from ast_jax.data.records import Collection, LazyRecord, prepare_records
from ast_jax.data.store import load_object, object_path, save_object
from ast_jax.datasets.matfile import load_variable
from ast_jax.files.archives import load_json, read_lines, unpack
from ast_jax.files.inside import inside
from ast_jax.files.limits import MAX_RATIO
from ast_jax.files.npz import NpzRows, load_npz
from ast_jax.pretrained.weights import check_finite, read_pickle, read_torch
from ast_jax.shapes.packages import unpack_archive
from tests.files.mutations import bounds
from tests.pretrained.torch_files import Global, Storage, TensorCall, torch_pickle


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "C:/a", "C:a", "..\\a", "a\\..\\..\\b", "\\\\host\\a"]
)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="refused.*leads outside"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["", ".", "a\0b", "a" * 256, "鳥" * 86, "\ud800"])
def test_what_names_no_file_is_refused(tmp_path, name):
    with pytest.raises(ValueError):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a.jpg", "b/c d.png", "..a", "b/...", "鳥.obj", os.fsdecode(b"V\xf6gel.jpg"), "a\\b"])
def test_other_names_are_what_they_are(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


def test_links_that_the_user_made_are_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/a.txt").write_text("one")
    assert read_lines(inside(tmp_path / "root", "link/a.txt")) == ["one"]


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "headers, message",
    [
        (tar_header("a", -1024), "size -1024"),
        (tar_header("a", 10**12), "refused, .* would become more than 1.0 TB"),
        (tar_header("././@LongLink", 10**9, tarfile.GNUTYPE_LONGNAME), "a name or comment in it has 1.0 GB"),
        (tar_header("a", 512, tarfile.GNUTYPE_SPARSE), "rare kind"),
        (tar_header("a", 0) + tar_header("./a", 0), "comes twice"),
        (tar_header("a", 2000) + b"x" * 512, "cannot be unpacked"),
    ],
)
def test_tar_headers_that_lie(tmp_path, headers, message):
    """Sizes below 0 are base-256 numbers (POSIX pax, GNU tar); Python up to 3.11.13 goes back and forth for ever."""
    path = tmp_path / "a.tar"
    path.write_bytes(headers + bytes(1024))
    with bounds(), pytest.raises(ValueError, match=f"a.tar: .*{message}"):
        unpack(path, tmp_path / "target")
    assert not (tmp_path / "target/a").exists()


def test_a_record_in_a_tar_that_says_sparse(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
        archive.addfile(info)
    with bounds(), pytest.raises(ValueError, match="a.tar: .*sparse file"):
        unpack(path, tmp_path / "target")


@pytest.mark.parametrize("size", [b"-60       ", b"9999999999", b"abc       ", b"          "])
def test_sizes_in_a_deb_that_are_none(tmp_path, size):
    path = tmp_path / "a.deb"
    path.write_bytes(b"!<arch>\n" + b"debian-binary   0           0     0     100644  " + size + b"`\n2.0\n")
    with bounds(), pytest.raises(ValueError, match="a.deb: its member 'debian-binary' says"):
        unpack_archive(path, tmp_path / "target")


def test_zip_bombs_are_refused_before_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("ast_jax.files.limits.FREE_ALLOWANCE", 1000)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1_000_000))
    assert os.path.getsize(path) * MAX_RATIO < 500_000
    with pytest.raises(ValueError, match="a.zip: refused, .* would become more than"):
        unpack(path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_zips_that_cannot_be_read_say_why(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"one")
    content = path.read_bytes()
    for flags in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content = content[:flags] + b"\x01" + content[flags + 1 :]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.zip: its member 'a.txt' is encrypted"):
        unpack(path, tmp_path / "target")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", b"one")
    with pytest.raises(ValueError, match="compressed by method 14"):
        unpack(path, tmp_path / "target")
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.txt", b"one")
        archive.writestr("a.txt", b"two")
    with pytest.raises(ValueError, match="'a.txt' comes twice"):
        unpack(path, tmp_path / "target")


def test_json_beyond_bounds(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="a.json: not a readable JSON file .nested too deeply"):
        load_json(path)
    path.write_text("9" * 5000)
    with pytest.raises(ValueError, match="a.json: not a readable JSON file"):
        load_json(path)
    with open(path, "wb") as file:
        file.truncate(2**42)  # a hole: no disk is taken
    with pytest.raises(ValueError, match="a.json: needs about .* TB of memory"):
        load_json(path)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(4294967296, 4294967296, 0)", "(-1, 6)", "(2, 3, 1000)"])
def test_shapes_in_an_npz_that_lie(tmp_path, shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (6,)})
    header = buffer.getvalue()[10:].replace(b"(6,)", shape.encode())[:-1].rstrip() + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(48))
    for read in (load_npz, NpzRows):
        with bounds(), pytest.raises(ValueError, match="a.npz: array 'x' (should have|has the) shape"):
            read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "size, stride",
    [
        ((10**10,), (0,)),
        ((2**62, 4), (0, 0)),
        ((10**5, 10**5), (0, 1)),
        ((4, 4), (1, 1)),
        ((-1,), (1,)),
        ((2.5,), (1,)),
    ],
)
def test_tensors_larger_than_their_storage(tmp_path, size, stride):
    path = tmp_path / "a.pth"
    storage = Storage("storage", Global("torch", "FloatStorage"), "0", "cpu", 6)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", torch_pickle({"x": TensorCall(storage, 0, size, stride, False)}))
        archive.writestr("a/data/0", bytes(24))
    with bounds(), pytest.raises(ValueError, match="a.pth cannot be read .*(beyond its storage|layout)"):
        read_torch(path)


def doubling(levels: int = 20) -> bytes:
    """A pickle of tuples that each hold the one below twice: 2^levels leaves for who walks them.

    Sixty would need for ever, also where the checks of types in tests write out what a function was called with.
    """
    pairs = (b"h" + bytes([k - 1]) + b"h" + bytes([k - 1]) + b"\x86q" + bytes([k]) for k in range(1, levels + 1))
    return b"\x80\x02K\x01q\x00" + b"".join(pairs)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x80\x02}r\xff\xff\xff\x0f.", ""),  # place 2^28 of the memory: a list of 4 GB for Python's reader in C
        (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".", "truncated|cannot be read"),
        (doubling() + b".", "more than 300,000"),
        (doubling() + b"}h\x14K\x01s.", "a tuple as a key"),
        (doubling() + b"cnumpy\ndtype\nh\x14\x85R.", "where text was expected"),
        (doubling() + b"Q.", "no storage"),
    ],
)
def test_pickles_that_grow_without_end(tmp_path, content, message):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with bounds():
        if message:
            with pytest.raises(ValueError, match=message):
                read_pickle(path)
        else:
            assert read_pickle(path) == {}


def test_weights_that_are_not_finite_are_named(tmp_path):
    with pytest.raises(ValueError, match="f.pth: conv has a number that is not finite"):
        check_finite({"good": np.ones(3), "conv": np.array([1, np.nan])}, "f.pth")


def test_matlab_cells_within_cells(tmp_path):
    cell = np.array([1.0])
    for _ in range(40):
        cell, inner = np.empty(1, object), cell
        cell[0] = inner
    savemat(tmp_path / "a.mat", {"x": cell})
    with pytest.raises(ValueError, match="a.mat: not a readable MATLAB file .*deep"):
        load_variable(tmp_path / "a.mat", "x")


def with_zeros(record, name, value):
    array = np.array(getattr(record, name))
    array.reshape(-1)[0] = value
    return dataclasses.replace(record, **{name: array})


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("rotation", 9.0, "rotation: a matrix is not orthogonal"),
        ("rotation", np.nan, "rotation has a number that is not finite"),
        ("focal", 0.0, "focal: 0.0 is not positive"),
        ("translation", np.inf, "translation has a number that is not finite"),
        ("faces", 99, "faces: names vertex 99, there are 5"),
    ],
)
def test_prepared_arrays_without_sense_name_the_file(tmp_path, record, name, value, message):
    save_object(tmp_path, "a", with_zeros(record, name, value))
    with pytest.raises(ValueError, match=f"a.npz: .*{message}"):
        load_object(tmp_path, "a")


def test_reflections_and_boxes_without_sense(record):
    with pytest.raises(ValueError, match="a matrix is a reflection"):
        check_arrays({"rotation": -record.rotation})
    for box in ([0.5, 0, 0.5, 1], [0, 0.9, 1, 0.1], [-2, 0, -1, 1], [0, 0, np.nan, 1]):
        with pytest.raises(ValueError, match="box"):
            check_arrays({"box": np.array([box], np.float32)})
    with pytest.raises(ValueError, match="images is float32"):
        check_arrays({"images": record.images.astype(np.float32)})


@pytest.mark.parametrize("name", ["../../a", "/etc/a", "a/b", "a\0"])
def test_names_of_objects_stay_in_their_folder(tmp_path, name):
    with pytest.raises(ValueError):
        object_path(tmp_path, name)


ERRORS = [
    MemoryError(),
    RecursionError("deep"),
    KeyError("x"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    OSError(),
]


def test_one_bad_item_stops_no_other(tmp_path, record):
    def fail(error):
        raise error

    good = [LazyRecord(name, "train", lambda: record) for name in ("a", "z")]
    bad = [LazyRecord(f"bad{k}", "train", lambda error=error: fail(error)) for k, error in enumerate(ERRORS)]
    names = [
        LazyRecord(name, "train", lambda: record)
        for name in ("a", "../x", "two words", "a" * 300, os.fsdecode(b"\xff"))
    ]
    found = Collection("bird", "perspective", (good[0], *bad, *names, good[1]))
    index = prepare_records(found, tmp_path / "out")
    assert index["splits"]["train"] == ["a", "z"] and len(index["skipped"]) == len(ERRORS) + len(names)
    assert any(line.startswith("bad0: cannot be read (MemoryError)") for line in index["skipped"])
    with pytest.raises(ValueError, match="bad0: cannot be read"):
        prepare_records(Collection("bird", "perspective", (*bad, *good)), tmp_path / "other", on_error="raise")


def test_a_truncated_object_is_made_again(tmp_path, record):
    found = Collection("bird", "perspective", (LazyRecord("a", "train", lambda: record),))
    prepare_records(found, tmp_path)
    path = object_path(tmp_path, "a")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    prepare_records(found, tmp_path)
    np.testing.assert_array_equal(load_object(tmp_path, "a").images, record.images)


def test_a_full_disk_is_no_bad_object(tmp_path, record, monkeypatch):
    """It would be left out of a data set that then counts as made."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ast_jax.data.records.save_object", full)
    with pytest.raises(OSError, match="No space left"):
        prepare_records(Collection("bird", "perspective", (LazyRecord("a", "train", lambda: record),)), tmp_path)
