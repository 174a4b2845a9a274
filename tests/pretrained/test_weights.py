"""The reader of untrusted weight files: right arrays from hand-made files, and nothing executed."""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from ast_jax.pretrained.weights import read_pickle, read_torch
from tests.pretrained.torch_files import Global, Storage, TensorCall, torch_pickle


class _Call:
    """Pickles as a call of any function: what a malicious file contains."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def _state_dict():
    storage = Storage("storage", Global("torch", "FloatStorage"), "77", "cuda:0", 6)
    counts = Storage("storage", Global("torch", "LongStorage"), "5", "cpu", 1)
    return OrderedDict(
        transposed=TensorCall(storage, 0, (3, 2), (1, 3), False, OrderedDict()),
        window=TensorCall(storage, 4, (2,), (1,), False, OrderedDict()),
        count=TensorCall(counts, 0, (), (), False, OrderedDict()),
    )


VALUES = np.arange(6, dtype=np.float32)


def _legacy_storage_identifiers(state):
    for tensor in state.values():
        storage = tensor.args[0]
        if len(storage.identifier) == 5:
            storage.identifier += (None,)
    return state


def _check_state(state):
    np.testing.assert_array_equal(state["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(state["window"], [4, 5])
    assert state["count"].shape == () and state["count"] == 9 and state["count"].dtype == np.int64


def test_reads_the_zip_format(tmp_path):
    path = tmp_path / "new.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", torch_pickle(_state_dict()))
        archive.writestr("archive/data/77", VALUES.tobytes())
        archive.writestr("archive/data/5", struct.pack("<q", 9))
    _check_state(read_torch(path))


def test_reads_the_legacy_format(tmp_path):
    path = tmp_path / "old.pth"
    header = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    content = b"".join(pickle.dumps(part, 2) for part in header)
    content += torch_pickle(_legacy_storage_identifiers(_state_dict())) + pickle.dumps(["5", "77"], 2)
    content += struct.pack("<q", 1) + struct.pack("<q", 9) + struct.pack("<q", 6) + VALUES.tobytes()
    path.write_bytes(content)
    _check_state(read_torch(path))


def test_refuses_a_tensor_outside_its_storage(tmp_path):
    path = tmp_path / "greedy.pth"
    storage = Storage("storage", Global("torch", "FloatStorage"), "0", "cpu", 6)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", torch_pickle({"x": TensorCall(storage, 1, (6,), (1,), False)}))
        archive.writestr("a/data/0", VALUES.tobytes())
    with pytest.raises(ValueError, match="beyond its storage"):
        read_torch(path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_reads_nested_dicts_of_arrays(tmp_path, protocol):
    tree = {
        "params": {
            "kernel": np.arange(12.0).reshape(3, 4),
            "fortran": np.asfortranarray(np.eye(3, 2, dtype=np.float32)),
        },
        "count": np.int64(4),
        "name": "vgg",
        "sizes": [1, (2, 3)],
        "big_endian": np.arange(3, dtype=">i4"),
    }
    path = tmp_path / "tree.pkl"
    path.write_bytes(pickle.dumps(tree, protocol))
    read = read_pickle(path)
    np.testing.assert_array_equal(read["params"]["kernel"], tree["params"]["kernel"])
    np.testing.assert_array_equal(read["params"]["fortran"], tree["params"]["fortran"])
    np.testing.assert_array_equal(read["big_endian"], [0, 1, 2])
    assert read["count"] == 4 and read["name"] == "vgg" and read["sizes"] == [1, (2, 3)]


@pytest.mark.parametrize(
    "function, name", [(os.system, "system"), (eval, "builtins.eval"), (getattr, "builtins.getattr")]
)
def test_runs_nothing(tmp_path, function, name):
    marker = tmp_path / "executed"
    code = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w')"}.get(function, "")
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"weights": _Call(function, code)}))
    with pytest.raises(ValueError, match=name):
        read_pickle(path)
    with pytest.raises(ValueError, match=name):
        read_torch(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes()) if function is eval else None
    assert marker.exists() == (function is eval), "the file was not dangerous: the test would prove nothing"


def test_runs_nothing_from_a_zip(tmp_path):
    marker, path = tmp_path / "executed", tmp_path / "evil.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(_Call(os.system, f"touch {marker}"), 2))
    with pytest.raises(ValueError, match="system"):
        read_torch(path)
    assert not marker.exists()


def test_refuses_object_arrays_and_changed_functions(tmp_path):
    path = tmp_path / "objects.pkl"
    path.write_bytes(pickle.dumps({"x": np.array([{}, None], dtype=object)}))
    with pytest.raises(ValueError, match="not plain numbers|cannot be read"):
        read_pickle(path)
    # BUILD with a slot state on an allowed function: sets an attribute of it if nothing stops that.
    path.write_bytes(b"\x80\x02cnumpy\ndtype\n(N}U\x09_functionU\x01xstb.")
    with pytest.raises(ValueError, match="cannot be read"):
        read_pickle(path)


def test_names_the_missing_or_damaged_file(tmp_path):
    with pytest.raises(ValueError, match="nowhere.pth does not exist"):
        read_torch(tmp_path / "nowhere.pth")
    path = tmp_path / "noise.pth"
    path.write_bytes(os.urandom(100))
    with pytest.raises(ValueError, match="noise.pth cannot be read"):
        read_torch(path)
