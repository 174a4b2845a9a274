"""NMR's files: cameras, voxels and pictures against an independent writer of its conventions."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from ast_jax.data.occupancy import solid_occupancy
from ast_jax.data.records import check_record, prepare_records
from ast_jax.data.store import load_index, load_object
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.shapenet import CLASSES, class_id
from tests.datasets.seen import iou, masks_of
from tests.datasets.shapenet_writer import BOXES, COLOURS, mesh_of, write_nmr, zip_folder

CHAIR, SOFA = "03001627", "04256520"


def read(source, category="chair", **options):
    return read_dataset("shapenet_nmr", ReadOptions(Path(source), category, **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nmr")
    write_nmr(folder, CHAIR, {"train": 2, "val": 1, "test": 1})
    write_nmr(folder, SOFA, {"train": 1}, compressed=False)
    return folder


@pytest.fixture(scope="module")
def record(folder):
    return read(folder).records[0].load()


def test_listing(folder):
    found = read(folder)
    assert (found.category, found.camera, found.problems) == ("chair", "perspective", ())
    assert [item.object_id for item in found.records] == [
        f"{CHAIR}_{name}" for name in ("train_00000", "train_00001", "val_00000", "test_00000")
    ]
    assert [item.split for item in found.records] == ["train", "train", "val", "test"]
    everything = read(folder, "all")
    assert everything.category == "all" and len(everything.records) == 5
    # 11 classes, and the two further splits of the sofas
    assert len(everything.notices) == 11 and "class airplane (02691156) is not there" in everything.notices[0]
    assert len(everything.problems) == 2 and "04256520_val_images.npz" in everything.problems[0]


def test_cameras_see_the_pictures(record):
    check_record(record)
    assert record.images.shape == (24, 64, 64, 4)
    assert np.linalg.det(record.rotation) == pytest.approx(1, abs=1e-5)
    drawn = masks_of(record, mesh_of(BOXES))
    for view in range(24):
        assert iou(drawn[view], record.images[view, ..., 3] > 127) >= 0.98
    # The first view stands before the front: the box at +z is blue and nearest.
    assert (record.images[0] == [*COLOURS[2], 255]).all(-1).sum() > 20
    assert not (record.images[12] == [*COLOURS[2], 255]).all(-1).any()


def test_a_mirrored_object_would_not_fit(record):
    for axis in range(3):
        flip = np.eye(3)
        flip[axis, axis] = -1
        mesh = mesh_of(BOXES)
        mesh.vertices = mesh.vertices @ flip
        assert iou(masks_of(record, mesh), record.images[..., 3] > 127) < 0.9


def test_occupancy_is_the_solid_of_the_pictured_object(record):
    mesh = mesh_of(BOXES * 31 / 32)  # NMR's grid covers a cube of side 32/31
    solid = solid_occupancy(np.array(mesh.vertices), np.array(mesh.faces, np.int32))
    assert iou(record.occupancy, solid) > 0.97
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            if order == (0, 1, 2) and flips == (1, 1, 1):
                continue
            other = record.occupancy.transpose(order)[tuple(slice(None, None, step) for step in flips)]
            assert iou(other, solid) < 0.8


def test_rows_are_read_one_by_one_in_any_order(folder):
    small, large = (read(folder).records[k].load() for k in (1, 0))
    again = read(folder).records[1].load()
    np.testing.assert_array_equal(small.images, again.images)
    assert 0 < (small.images[..., 3] > 0).sum() < (large.images[..., 3] > 0).sum()
    assert small.occupancy.sum() < large.occupancy.sum()


def test_other_sizes_and_archives(folder, record, tmp_path):
    half = read(folder, image_size=32).records[0].load()
    expected = record.images[..., 3].reshape(24, 32, 2, 32, 2).mean((2, 4))
    np.testing.assert_allclose(half.images[..., 3], expected, atol=0.51)
    zip_folder(folder, tmp_path / "mesh_reconstruction.zip")
    packed = read(tmp_path / "mesh_reconstruction.zip").records[0].load()
    np.testing.assert_array_equal(packed.images, record.images)


def test_prepared_as_a_data_set(folder, tmp_path):
    prepare_records(read(folder, "sofa"), tmp_path)
    index = load_index(tmp_path)
    assert index["camera"] == "perspective" and index["voxel_cube"] == pytest.approx(32 / 31)
    assert load_object(tmp_path, index["splits"]["train"][0]).occupancy.any()


@pytest.mark.parametrize(
    "name, expected",
    [("plane", "02691156"), ("Airplane", "02691156"), ("02691156", "02691156"), ("couch", SOFA), ("sofa", SOFA)]
    + [("phone", "04401088"), ("vessel", "04530566"), ("speaker", "03691459"), ("monitor", "03211117")]
    + [("dresser", "02933112"), ("watercraft", "04530566"), ("display", "03211117"), ("loudspeaker", "03691459")],
)
def test_names_of_classes(name, expected):
    assert class_id(name) == expected


def test_unknown_and_missing_classes(folder):
    assert len(CLASSES) == 13
    with pytest.raises(ValueError, match=r"category='chiar': .*airplane \(02691156\).*all; did you mean 'chair'\?"):
        read(folder, "chiar")
    with pytest.raises(ValueError, match="airplane .*is not there; it holds chair, sofa"):
        read(folder, "airplane")
    with pytest.raises(ValueError, match="holds chair, sofa; choose one with --category"):
        read(folder, "")


def test_a_bad_file_of_one_class_costs_that_split_alone(folder, tmp_path):
    for path in folder.glob("*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / f"{SOFA}_train_voxels.npz").unlink()
    path = tmp_path / f"{CHAIR}_val_images.npz"
    path.write_bytes(path.read_bytes()[:1000])
    found = read(tmp_path, "all")
    assert [item.split for item in found.records] == ["train", "train", "test"]
    assert any(f"the val split of chair is left out: {path}: not a readable" in line for line in found.problems)
    assert any(f"{SOFA}_train_voxels.npz" in line for line in found.problems)
    index = prepare_records(found, tmp_path / "out")
    assert len(index["splits"]["train"]) == 2 and index["skipped"] == list(found.problems)


def test_bad_files(folder, tmp_path):
    with pytest.raises(ValueError, match="no files such as 02691156_train_images.npz"):
        read(tmp_path)
    images, voxels = (tmp_path / f"{CHAIR}_train_{kind}.npz" for kind in ("images", "voxels"))
    images.write_bytes((folder / images.name).read_bytes())
    with pytest.raises(ValueError, match=f"{CHAIR}_train_voxels.npz: not a readable"):
        read(tmp_path)
    np.savez(voxels, np.zeros((3, 32, 32, 32), bool))
    with pytest.raises(ValueError, match=r"train_voxels.npz: \(3, 32, 32, 32\), expected \[2, r, r, r\]"):
        read(tmp_path)
    np.savez(voxels, np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"train_voxels.npz: array 'arr_0' holds pickled objects: refused"):
        read(tmp_path)
    voxels.write_bytes((folder / voxels.name).read_bytes())
    np.savez(images, np.zeros((2, 24, 3, 64, 64), np.uint8))
    with pytest.raises(ValueError, match=r"train_images.npz: uint8 \(2, 24, 3, 64, 64\), expected"):
        read(tmp_path)
