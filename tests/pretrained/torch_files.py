"""Files as torch.save writes them, made without torch."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np


class Global:
    """Pickled by name only, so that files naming torch can be made without torch."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Storage:
    def __init__(self, *identifier):
        self.identifier = identifier


class _TorchLikePickler(pickle._Pickler):
    """Writes GLOBAL opcodes for ``Global`` and persistent ids for ``Storage``, as torch.save does."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, TensorCall):
            self.save_reduce_like(obj)
        else:
            super().save(obj, save_persistent_id)

    def save_reduce_like(self, obj):
        self.save(Global("torch._utils", "_rebuild_tensor_v2"))
        self.save(obj.args)
        self.write(b"R")

    def persistent_id(self, obj):
        return obj.identifier if isinstance(obj, Storage) else None


class TensorCall:
    def __init__(self, *args):
        self.args = args


def torch_pickle(obj) -> bytes:
    buffer = io.BytesIO()
    _TorchLikePickler(buffer, 2).dump(obj)
    return buffer.getvalue()


def write_state_dict(path: Path, state: dict[str, np.ndarray]) -> Path:
    """Save arrays of float32 in the zip format of torch >= 1.6."""
    tensors = OrderedDict()
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, array) in enumerate(state.items()):
            array = np.ascontiguousarray(array, np.float32)
            storage = Storage("storage", Global("torch", "FloatStorage"), str(number), "cpu", array.size)
            strides = tuple(step // array.itemsize for step in array.strides)
            tensors[name] = TensorCall(storage, 0, array.shape, strides, False, OrderedDict())
            archive.writestr(f"archive/data/{number}", array.tobytes())
        archive.writestr("archive/data.pkl", torch_pickle(tensors))
    return path
