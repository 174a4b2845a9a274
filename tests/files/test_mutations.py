"""Every reader of files from elsewhere gets mutations of good ones: it answers with results or a ValueError, in bounds.

A case writes good files into a folder and says how to read them. Formats that a checksum guards are written anew about
their mutated insides, too: else no mutation would come past the checksum.
"""

import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ast_jax.data.store import load_index, load_object, object_path, save_index, save_object
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.annotations import make_camera, read_cameras, read_keypoints
from ast_jax.datasets.binvox import read_binvox
from ast_jax.datasets.coco_masks import segmentation_mask
from ast_jax.datasets.matfile import load_structs
from ast_jax.datasets.pascal3d import keypoint_names
from ast_jax.files.archives import load_json, read_lines, unpack
from ast_jax.files.npz import NpzRows, load_npz
from ast_jax.pretrained.weights import read_pickle, read_torch
from ast_jax.shapes.packages import unpack_archive
from ast_jax.shapes.sweethome import CATALOGUE, load_furniture, read_catalogue
from tests.data.conftest import random_record
from tests.datasets import cub_writer, shapenet_writer
from tests.files.archive_writer import deb_of, npy_of, tar_of, written, zip_of
from tests.files.mutations import feed, memory_folder, mutate, mutate_json
from tests.pretrained.torch_files import Global, Storage, TensorCall, torch_pickle, write_state_dict

CHAIR = "03001627"
Case = tuple[list[Path], Callable[[], object]]


@pytest.fixture
def folder():
    with memory_folder() as path:
        yield path


TREE = {"data/a.txt": b"one" * 40, "b/": b"", "b/" + "long" * 40: b"two", "c.bin": bytes(range(256))}
STATE = {"a.weight": np.arange(12.0).reshape(3, 4), "b": np.ones(5)}


def torch_zip(folder: Path) -> Case:
    path = write_state_dict(folder / "a.pth", STATE)
    return [path], lambda: read_torch(path)


def torch_insides(folder: Path) -> Case:
    with zipfile.ZipFile(write_state_dict(folder / "good.pth", STATE)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled, path = written(folder / "data.pkl", members.pop("archive/data.pkl")), folder / "a.pth"

    def read():
        path.write_bytes(zip_of({**members, "archive/data.pkl": pickled.read_bytes()}, zipfile.ZIP_STORED))
        return read_torch(path)

    return [pickled], read


def torch_legacy(folder: Path) -> Case:
    storage = Storage("storage", Global("torch", "FloatStorage"), "7", "cpu", 6, None)
    state = OrderedDict(x=TensorCall(storage, 0, (3, 2), (1, 3), False, OrderedDict()))
    header = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    content = b"".join(pickle.dumps(part, 2) for part in header) + torch_pickle(state) + pickle.dumps(["7"], 2)
    path = written(folder / "a.pth", content + struct.pack("<q", 6) + np.arange(6, dtype=np.float32).tobytes())
    return [path], lambda: read_torch(path)


def plain_pickle(folder: Path) -> Case:
    tree = {"params": {"kernel": np.arange(6.0), "f": np.asfortranarray(np.eye(3))}, "n": np.int64(3), "s": [1, (2,)]}
    paths = [written(folder / f"{k}.ckpt", pickle.dumps(tree, k)) for k in (0, 2, 4, 5)]
    return paths, lambda: [read_pickle(path) for path in paths]


def npz(folder: Path) -> Case:
    arrays = {"x": np.arange(30).reshape(5, 6), "y": np.eye(3, dtype=np.float32)}
    paths = [folder / "a.npz", folder / "b.npz"]
    np.savez(paths[0], **arrays)
    np.savez_compressed(paths[1], **arrays)

    def read():
        for path in paths:
            load_npz(path)
            rows = NpzRows(path)
            assert len(rows) < 1000
            [rows[k] for k in range(len(rows))]

    return paths, read


def npz_insides(folder: Path) -> Case:
    member, path = written(folder / "x.npy", npy_of(np.arange(30.0).reshape(5, 6))), folder / "a.npz"

    def read():
        path.write_bytes(zip_of({"x.npy": member.read_bytes()}))
        rows = NpzRows(path)
        assert len(rows) < 10_000
        return load_npz(path), [rows[k] for k in range(min(len(rows), 10))]

    return [member], read


def prepared_object(folder: Path) -> Case:
    rng = np.random.default_rng(0)
    save_object(folder, "a", random_record(rng, 8))
    path = object_path(folder, "a")
    with zipfile.ZipFile(path) as archive:
        members = {name: written(folder / "objects" / name, archive.read(name)) for name in archive.namelist()}

    def read():
        path.write_bytes(zip_of({name: member.read_bytes() for name, member in members.items()}))
        return load_object(folder, "a")

    return list(members.values()), read


def index(folder: Path) -> Case:
    save_index(folder, {"category": "bird", "keypoint_names": ["a"], "splits": {"train": ["a", "b"], "val": []}})

    def read():
        for names in load_index(folder).get("splits", {}).values():
            for name in names:
                assert (folder / "objects") in object_path(folder, name).parents

    return [folder / "dataset.json"], read


def archives(folder: Path) -> Case:
    contents = {
        "a.zip": zip_of(TREE),
        "a.tar": tar_of(TREE),
        "b.tar": tar_of(TREE, form=tarfile.PAX_FORMAT),
        "a.tar.gz": tar_of(TREE, "w:gz"),
        "a.tar.xz": tar_of(TREE, "w:xz"),
    }
    paths = [written(folder / name, content) for name, content in contents.items()]
    return paths, lambda: [_afresh(unpack, path) for path in paths]


def _afresh(unpacker: Callable, path: Path) -> None:
    """Unpacks into an empty folder, and nowhere else."""
    target = path.parent / "target"
    shutil.rmtree(target, ignore_errors=True)
    around = {path.name for path in path.parent.iterdir()} | {"target"}
    unpacker(path, target)
    assert {path.name for path in path.parent.iterdir()} <= around and not (path.parent.parent / "a.txt").exists()


def packages(folder: Path) -> Case:
    paths = [written(folder / f"{k}.deb", deb_of(TREE, mode)) for k, mode in enumerate(("w", "w:gz", "w:xz"))]
    return paths, lambda: [_afresh(unpack_archive, path) for path in paths]


def furniture(folder: Path) -> Case:
    lines = "license=free\nname#1=Chair\ncategory#1=Seats\nmodel#1=/m/chair/chair.obj\nwidth#1=50\ndepth#1=50\n"
    lines += "height#1=90\nmodelRotation#1=1 0 0 0 1 0 0 0 1\ncreator#1=me\n"
    catalogue = written(folder / CATALOGUE, lines.encode())
    path = folder / "a.sh3f"

    def read():
        mesh = b"v 0 0 0\nv 1 0 0\nv 0 1 1\nf 1 2 3\n"
        path.write_bytes(zip_of({CATALOGUE: catalogue.read_bytes(), "m/chair/chair.obj": mesh}))
        return [load_furniture(item) for item in read_catalogue(path)]

    return [catalogue], read


def binvox(folder: Path) -> Case:
    path = written(folder / "a.binvox", shapenet_writer.binvox_of(shapenet_writer.unit_boxes(), side=8))
    return [path], lambda: read_binvox(path)


def matlab(folder: Path) -> Case:
    rows = cub_writer.structs(
        [{"rel_path": "a.jpg", "bbox": {"x1": 1.0, "y1": 2.0}, "parts": np.eye(3), "c": "text"}] * 2
    )
    paths = [folder / "a.mat", folder / "b.mat"]
    for path, packed in zip(paths, (False, True)):
        savemat(path, {"images": rows}, do_compression=packed)
    return paths, lambda: [load_structs(path, "images", ("rel_path",)) for path in paths]


def texts(folder: Path) -> Case:
    lines = written(folder / "a.lst", "one\ntwo ö\n".encode())
    tree = written(folder / "a.json", b'{"a": [1, 2.5, {"b": "c"}], "d": null}')
    return [lines, tree], lambda: (read_lines(lines), load_json(tree))


def own_annotations(folder: Path) -> Case:
    numbers = {"K": np.diag([30, 30, 1]).tolist(), "R": np.eye(3).tolist(), "t": [0, 0, 3]}
    own = {"rotation": np.eye(3).tolist(), "translation": [0, 0, -3], "focal": [2, 2], "principal": [0, 0]}
    cameras = written(folder / "cameras.json", json.dumps({"cameras": {"a.jpg": numbers, "b.jpg": own}}).encode())
    points = {"names": ["x", "y"], "keypoints": {"a.jpg": [[1, 2, 1], [3, 4, 0]]}}
    keypoints = written(folder / "keypoints.json", json.dumps(points).encode())

    def read():
        [make_camera(entry, (40, 50), f"{cameras}: {key}") for key, entry in (read_cameras(folder) or {}).items()]
        found = read_keypoints(folder)
        return [found.of(key) for key in found.points]

    return [cameras, keypoints], read


def csv_keypoints(folder: Path) -> Case:
    path = written(folder / "keypoints.csv", b"image,name,x,y,visible\na.jpg,beak,1,2,1\na.jpg,tail,3,4,0\n")

    def read():
        found = read_keypoints(folder)
        return [found.of(key) for key in found.points]

    return [path], read


def records_of(name: str, source: Path, **options) -> Callable[[], object]:
    """Lists a data set and reads each object, as it is prepared."""

    def read():
        found = read_dataset(name, ReadOptions(source, image_size=16, **options))
        for item in found.records[:4]:
            item.read(len(found.keypoint_names) or None)

    return read


def coco(folder: Path) -> Case:
    item = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [4, 4, 20, 20], "keypoints": [5, 5, 2], "iscrowd": 0}
    masks = [[[4, 4, 24, 4, 24, 24, 4, 24]], {"size": [30, 32], "counts": [100, 500, 360]}]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 32}],
        "categories": [{"id": 7, "name": "zebra", "keypoints": ["nose"]}],
        "annotations": [{**item, "id": k, "segmentation": mask} for k, mask in enumerate(masks)],
    }
    (folder / "images").mkdir()
    Image.new("RGB", (32, 30), (200, 0, 0)).save(folder / "images/a.png")
    path = written(folder / "instances_val.json", json.dumps(content).encode())
    options = {"min_box_side": 4.0}

    def read():
        from ast_jax.datasets import coco as reader

        found = reader.read(ReadOptions(path, image_size=16), **options)
        [record.read(len(found.keypoint_names)) for record in found.records[:4]]

    return [path], read


def run_lengths(folder: Path) -> Case:
    path = written(
        folder / "rle.json", b'{"size": [23, 40], "counts": "^77>4M2O0O2O000000000001N101N3L`3NcL2O00000001NS2"}'
    )

    def read():
        try:
            return segmentation_mask(json.loads(path.read_bytes()), (23, 40))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    return [path], read


def cub(folder: Path) -> Case:
    cub_writer.write_official(folder, cub_writer.make_photos(2, size=(36, 45), scale=14.0), [True, False])
    names = ("images.txt", "bounding_boxes.txt", "train_test_split.txt", "parts/part_locs.txt")
    return [folder / "CUB_200_2011" / name for name in names], records_of("cub", folder, variant="ast")


def cmr_cache(folder: Path) -> Case:
    photos = cub_writer.make_photos(2, size=(36, 45), scale=14.0)
    cub_writer.write_images(folder / "images", photos)
    annotations, cameras = folder / "data/train_cub_cleaned.mat", folder / "sfm/anno_train.mat"
    cub_writer.write_cache(annotations, cameras, photos)
    return [annotations, cameras], records_of("cub_cmr", folder)


def pascal3d(folder: Path) -> Case:
    path = folder / "car_kps.mat"
    savemat(path, {"kp_names": np.array(["L_a", "R_a"], object), "kp_perm_inds": np.array([2, 1])})
    return [path], lambda: keypoint_names(path)


def shapenet_dvr(folder: Path) -> Case:
    model = folder / CHAIR / "a"
    shapenet_writer.write_dvr_model(model, shapenet_writer.TO_V1, size=8, num_points=40)
    for path in [*model.glob("image/*"), *model.glob("mask/*")]:
        if int(path.stem) > 1:
            path.unlink()
    listed = written(folder / CHAIR / "train.lst", b"a\n")
    return [listed, model / "cameras.npz", model / "pointcloud.npz"], records_of("shapenet_dvr", folder)


def shapenet_occnet(folder: Path) -> Case:
    model = folder / CHAIR / "a"
    shapenet_writer.write_occnet_model(model, num_views=1, num_points=40)
    insides = {}
    for name in ("points", "pointcloud"):
        with zipfile.ZipFile(model / f"{name}.npz") as archive:
            insides[name] = {x: written(folder / name / x, archive.read(x)) for x in archive.namelist()}
    written(folder / CHAIR / "train.lst", b"a\n")
    load = records_of("shapenet_occnet", folder)

    def read():
        for name, members in insides.items():
            content = zip_of({x: path.read_bytes() for x, path in members.items()}, zipfile.ZIP_STORED)
            (model / f"{name}.npz").write_bytes(content)
        load()

    return [path for members in insides.values() for path in members.values()] + [model / "model.binvox"], read


def shapenet_nmr(folder: Path) -> Case:
    shapenet_writer.write_nmr(folder, CHAIR, {"train": 1}, size=8)
    paths = [folder / f"{CHAIR}_train_{kind}.npz" for kind in ("images", "voxels")]
    return paths, records_of("shapenet_nmr", folder)


CASES = [
    torch_zip,
    torch_insides,
    torch_legacy,
    plain_pickle,
    npz,
    npz_insides,
    prepared_object,
    index,
    archives,
    packages,
    furniture,
    binvox,
    matlab,
    texts,
    own_annotations,
    csv_keypoints,
    coco,
    run_lengths,
    cub,
    cmr_cache,
    pascal3d,
    shapenet_dvr,
    shapenet_occnet,
    shapenet_nmr,
]
EXAMPLES = pytest.mark.parametrize(
    "examples", [pytest.param(300, id="300"), pytest.param(20_000, marks=pytest.mark.slow, id="20000")]
)
JSON_CASES = [index, texts, own_annotations, coco, run_lengths]
# Messages about an object itself; whoever asked for it says which one it is.
BARE = [cub, cmr_cache, shapenet_dvr, shapenet_occnet, shapenet_nmr, coco]


@EXAMPLES
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_mutated_files_give_results_or_clean_errors(folder, case, examples):
    files, read = case(folder)
    refused = feed(files, read, examples, mutate, named=case not in BARE)
    assert refused > examples // 20, "hardly any file was broken: the test would prove nothing"


@EXAMPLES
@pytest.mark.parametrize("case", JSON_CASES, ids=lambda case: case.__name__)
def test_mutated_json_gives_results_or_clean_errors(folder, case, examples):
    files, read = case(folder)
    files = [path for path in files if path.suffix == ".json"]
    feed(files, read, examples, mutate_json, named=case not in BARE)
