"""DVR's tree against an independent writer; worlds that are turned or mirrored come out the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.records import check_record
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.shapenet_dvr import share_in_masks
from tests.datasets.seen import iou, masks_of
from tests.datasets.shapenet_writer import BOXES, TO_V1, mesh_of, surface, write_dvr_model

CAR = "02958343"
MIRROR = np.diag([1.0, 1.0, -1.0])


def read(source, **options):
    return read_dataset("shapenet_dvr", ReadOptions(Path(source), "car", **options))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("dvr") / "NMR_Dataset"
    for name, to_world in {"v1": TO_V1, "same": np.eye(3), "mirrored": MIRROR @ TO_V1}.items():
        write_dvr_model(root / CAR / name, to_world)
    (root / CAR / "softras_train.lst").write_text("v1\nsame\n\n")
    (root / CAR / "softras_val.lst").write_text("mirrored\n")
    (root / CAR / "softras_test.lst").write_text("gone\n")
    return root


@pytest.fixture(scope="module")
def records(tree):
    return {item.provenance["model"]: item.load() for item in read(tree.parent).records[:3]}


def test_listing(tree):
    found = read(tree)
    assert [item.object_id for item in found.records] == [f"{CAR}_{x}" for x in ("v1", "same", "mirrored", "gone")]
    assert [item.split for item in found.records] == ["train", "train", "val", "test"]
    with pytest.raises(ValueError, match="gone.image: no pictures"):
        found.records[3].load()


@pytest.mark.parametrize("name", ["v1", "same", "mirrored"])
def test_cameras_and_points_fit_the_pictures(records, name):
    record = records[name]
    check_record(record)
    assert record.occupancy is None
    assert np.linalg.det(record.rotation) == pytest.approx(1, abs=1e-4)
    drawn = masks_of(record, mesh_of(BOXES))
    for view in range(24):
        assert iou(drawn[view], record.images[view, ..., 3] > 127) >= 0.98
    points, normals = surface(BOXES, 500)
    np.testing.assert_allclose(record.surface_points, points, atol=1e-5)
    np.testing.assert_allclose(record.surface_normals, normals, atol=1e-5)
    assert share_in_masks(record) > 0.99


def test_points_of_another_frame_are_refused(tree, tmp_path):
    write_dvr_model(tmp_path / CAR / "odd", TO_V1)
    points, normals = surface(BOXES, 500)  # not turned as the cameras are
    np.savez(tmp_path / CAR / "odd/pointcloud.npz", points=points, normals=normals)
    (tmp_path / CAR / "softras_train.lst").write_text("odd")
    with pytest.raises(ValueError, match="odd: only .*% of pointcloud.npz falls on the masks"):
        read(tmp_path).records[0].load()


def test_points_are_drawn_by_seed_and_id(tmp_path):
    write_dvr_model(tmp_path / CAR / "a", TO_V1, size=16, num_points=14_000)
    (tmp_path / CAR / "train.lst").write_text("a")
    few, again, other = (read(tmp_path, seed=seed).records[0].load().surface_points for seed in (0, 0, 1))
    np.testing.assert_array_equal(few, again)
    assert few.shape == other.shape == (10_000, 3) and (few != other).any()
    assert len(read(tmp_path, variant="full").records[0].load().surface_points) > 10_000
    with pytest.raises(ValueError, match="variant='all'"):
        read(tmp_path, variant="all")


def test_broken_models_are_named(tree, tmp_path):
    folder = tmp_path / CAR / "a"
    write_dvr_model(folder, TO_V1, size=16)
    (tmp_path / CAR / "softras_train.lst").write_text("a")
    item = read(tmp_path).records[0]
    cameras = dict(np.load(folder / "cameras.npz"))
    np.savez(folder / "cameras.npz", **{k: v for k, v in cameras.items() if k != "world_mat_5"})
    with pytest.raises(ValueError, match="cameras.npz: has no world_mat_5"):
        item.load()
    (folder / "cameras.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="cameras.npz: not a readable .npz"):
        item.load()
    Image.new("L", (8, 8), 255).save(folder / "mask/0003.png")
    with pytest.raises(ValueError, match="0003.png: .*mask"):
        item.load()
    (folder / "mask/0003.png").unlink()
    with pytest.raises(ValueError, match="mask/0003.png: no such file"):
        item.load()
    with pytest.raises(ValueError, match="no folder of a ShapeNet class"):
        read(folder)
