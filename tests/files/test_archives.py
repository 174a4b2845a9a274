"""Archives, numpy files and JSON that are broken or mean harm."""

import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest

from ast_jax.files.archives import UNPACKED, load_json, source_folder, unpack
from ast_jax.files.npz import NpzRows, load_npz


def write_zip(path, members: dict[str, bytes], link: str = ""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, "/etc/passwd")
    return path


def write_tar(path, members: dict[str, bytes], link: str = "", kind: bytes = tarfile.SYMTYPE):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return path


WRITERS = {"a.zip": write_zip, "a.tar.gz": write_tar}


@pytest.mark.parametrize("name", WRITERS)
def test_good_archives_are_unpacked_once(tmp_path, name):
    path = WRITERS[name](tmp_path / name, {"data/x.txt": b"one", "y.txt": b"two"})
    folder = source_folder(path)
    assert folder == tmp_path / f"{name}.unpacked"
    assert (folder / "data/x.txt").read_text() == "one" and (folder / "y.txt").read_text() == "two"
    (folder / "y.txt").unlink()
    assert source_folder(path) == folder and not (folder / "y.txt").exists()  # it was not unpacked again
    (folder / UNPACKED).unlink()  # as if the first time had been cut short
    source_folder(path)
    assert (folder / "y.txt").exists()
    assert source_folder(folder) == folder
    WRITERS[name](path, {"z.bin": np.random.default_rng(0).bytes(1000)})
    with pytest.raises(ValueError, match="was unpacked from another a.*delete it"):
        source_folder(path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("member", ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out.txt", "..\\out.txt"])
def test_members_outside_the_target_are_refused_before_anything_is_written(tmp_path, name, member):
    path = WRITERS[name](tmp_path / name, {"good.txt": b"1", member: b"2"})
    with pytest.raises(ValueError, match=r"a\.(zip|tar\.gz): refused, its member .*out.txt.* outside"):
        unpack(path, tmp_path / "inner/target")
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("name", WRITERS)
def test_links_are_refused(tmp_path, name):
    path = WRITERS[name](tmp_path / name, {"good.txt": b"1"}, link="data/passwd")
    with pytest.raises(ValueError, match=r"refused, its member 'data/passwd' is a link"):
        unpack(path, tmp_path / "target")
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_hard_links_and_devices_are_refused(tmp_path, kind):
    path = write_tar(tmp_path / "a.tar.gz", {}, link="thing", kind=kind)
    with pytest.raises(ValueError, match="member 'thing' is a link or a device"):
        unpack(path, tmp_path / "target")


def test_broken_archives_are_named(tmp_path):
    noise = np.random.default_rng(0).bytes(50_000)
    for name, write in WRITERS.items():
        path = write(tmp_path / name, {"a.bin": noise, "b.bin": noise})
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=name):
            unpack(path, tmp_path / "target")
    (tmp_path / "b.rar").write_bytes(b"Rar!")
    with pytest.raises(ValueError, match="b.rar: neither a zip nor a tar"):
        source_folder(tmp_path / "b.rar")
    with pytest.raises(ValueError, match="c.zip: no such file or folder"):
        source_folder(tmp_path / "c.zip")


def test_flipped_bytes_of_a_zip_are_found(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.bin": b"\0" * 5000})
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.zip: cannot be unpacked"):
        unpack(path, tmp_path / "target")


def test_load_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.eye(2))
    assert sorted(load_npz(tmp_path / "a.npz")) == ["x", "y"]
    np.testing.assert_array_equal(load_npz(tmp_path / "a.npz", ("x",))["x"], [0, 1, 2])
    with pytest.raises(ValueError, match="a.npz: .*it has no z, w"):
        load_npz(tmp_path / "a.npz", ("x", "z", "w"))
    with pytest.raises(ValueError, match="b.npz: no such file"):
        load_npz(tmp_path / "b.npz")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match="b.npz: not a readable .npz file"):
        load_npz(tmp_path / "b.npz")


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_by_file_and_array(tmp_path):
    np.savez(tmp_path / "a.npz", good=np.arange(3), bad=np.array([Trap(tmp_path / "sprung")], dtype=object))
    with pytest.raises(ValueError, match="a.npz: array 'bad' holds pickled objects: refused"):
        load_npz(tmp_path / "a.npz")
    assert load_npz(tmp_path / "a.npz", ("good",))["good"].tolist() == [0, 1, 2]
    np.savez(tmp_path / "b.npz", np.array([Trap(tmp_path / "sprung")], dtype=object))
    with pytest.raises(ValueError, match="b.npz: array 'arr_0' holds pickled objects: refused"):
        NpzRows(tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_an_npz(tmp_path, save):
    array = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    save(tmp_path / "a.npz", array)
    rows = NpzRows(tmp_path / "a.npz")
    assert len(rows) == 7 and rows.shape == array.shape
    for row in (0, 1, 6, 2):  # backwards, too
        np.testing.assert_array_equal(rows[row], array[row])
    with pytest.raises(ValueError, match="a.npz: ends before row 7 of 7"):
        rows[7]


def test_rows_of_a_damaged_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, np.random.default_rng(0).integers(0, 256, (20, 1000), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    rows = NpzRows(path)
    with pytest.raises(ValueError, match="a.npz: damaged at row"):
        for row in range(20):
            rows[row]
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="a.npz: not a readable"):
        NpzRows(path)
    np.savez(path, np.asfortranarray(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="not stored row by row"):
        NpzRows(path)


@pytest.mark.parametrize("place", range(32, 120, 3))
def test_flipped_bytes_at_the_start_of_a_member_name_the_file(tmp_path, place):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, np.random.default_rng(0).integers(0, 256, (20, 100), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    try:
        NpzRows(path)[0]
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")


def test_rows_of_what_is_no_array(tmp_path):
    write_zip(tmp_path / "a.npz", {"a.txt": b"no array at all"})
    with pytest.raises(ValueError, match="a.npz: not a readable .npz file"):
        NpzRows(tmp_path / "a.npz")


def test_load_json(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert load_json(tmp_path / "a.json") == {"a": 1}
    for content in (b"{", b"\xff\xfe\x00"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(ValueError, match="a.json: not a readable JSON file"):
            load_json(tmp_path / "a.json")
