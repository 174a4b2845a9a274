"""The tree of Occupancy Networks against an independent writer."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ast_jax.data.occupancy import solid_occupancy
from ast_jax.data.records import check_record
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.binvox import read_binvox
from ast_jax.datasets.shapenet_occnet import occupancy_from_binvox, plain_mask
from tests.datasets.seen import iou, masks_of
from tests.datasets.shapenet_writer import inside, mesh_of, unit_boxes, write_occnet_model

LAMP = "03636649"


def read(source, **options):
    return read_dataset("shapenet_occnet", ReadOptions(Path(source), "lamp", **{"image_size": 137, **options}))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("occnet")
    write_occnet_model(root / LAMP / "plain")
    write_occnet_model(root / LAMP / "masked", masks=True)
    (root / LAMP / "train.lst").write_text("plain\n")
    (root / LAMP / "val.lst").write_text("masked\n")
    return root


@pytest.fixture(scope="module")
def record(tree):
    return read(tree).records[0].load()


def test_listing(tree):
    found = read(tree)
    assert [item.object_id for item in found.records] == [f"{LAMP}_plain", f"{LAMP}_masked"]
    assert len(found.problems) == 1 and "test.lst: no such list" in found.problems[0]


@pytest.mark.parametrize("number", [0, 1])
def test_cameras_see_the_pictures(tree, number):
    record = read(tree).records[number].load()
    check_record(record)
    assert np.linalg.det(record.rotation) == pytest.approx(1, abs=1e-4)
    drawn = masks_of(record, mesh_of(unit_boxes()))
    least = (0.985, 0.995)[number]  # JPEG blurs the masks that come from the background
    for view in range(3):
        assert iou(drawn[view], record.images[view, ..., 3] > 127) >= least


def test_query_points_say_inside(record):
    assert record.query_points.shape == (10_000, 3) and record.query_inside.dtype == bool
    # Half-precision points next to a wall may be on either side of it.
    assert (inside(unit_boxes(), record.query_points.astype(float)) == record.query_inside).mean() > 0.995
    assert 0.05 < record.query_inside.mean() < 0.5


def test_surface_points_lie_on_the_mesh(record):
    boxes = unit_boxes()
    distance = np.abs(record.surface_points[:, None, None] - boxes).min((1, 2, 3))
    assert distance.max() < 1e-3
    outwards = record.surface_points + 0.01 * record.surface_normals
    inwards = record.surface_points - 0.01 * record.surface_normals
    assert inside(boxes, inwards).mean() > 0.99 > 0.1 > inside(boxes, outwards).mean()


def test_occupancy_is_the_solid_of_the_pictured_object(record):
    mesh = mesh_of(unit_boxes())
    solid = solid_occupancy(np.array(mesh.vertices), np.array(mesh.faces, np.int32))
    exact = iou(record.occupancy, solid)
    assert exact > 0.75  # theirs are voxels whose centre is inside, ours all that are touched
    centre = (np.arange(32) + 0.5) / 32 - 0.5
    places = np.stack(np.meshgrid(centre, centre, centre, indexing="ij"), -1)
    assert iou(record.occupancy, inside(unit_boxes(), places)) > 0.88  # up to half a voxel of its place
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            if order == (0, 1, 2) and flips == (1, 1, 1):
                continue
            other = record.occupancy.transpose(order)[tuple(slice(None, None, step) for step in flips)]
            assert iou(other, solid) < exact - 0.1


def test_binvox_files_of_another_writer(tmp_path):
    voxels = np.random.default_rng(0).uniform(size=(5, 5, 5)) > 0.6
    grid = trimesh.voxel.VoxelGrid(voxels)
    (tmp_path / "a.binvox").write_bytes(trimesh.exchange.binvox.export_binvox(grid))
    np.testing.assert_array_equal(read_binvox(tmp_path / "a.binvox"), voxels)
    content = (tmp_path / "a.binvox").read_bytes()
    (tmp_path / "b.binvox").write_bytes(content[:-4])
    with pytest.raises(ValueError, match="b.binvox: its runs do not fill 5 x 5 x 5"):
        read_binvox(tmp_path / "b.binvox")
    (tmp_path / "b.binvox").write_bytes(b"solid stl")
    with pytest.raises(ValueError, match="b.binvox: not a binvox file"):
        read_binvox(tmp_path / "b.binvox")
    with pytest.raises(ValueError, match="no voxel is occupied"):
        occupancy_from_binvox(np.zeros((4, 4, 4), bool))


def test_plain_masks_keep_holes_and_say_where_they_end():
    picture = np.full((40, 40, 3), 255, np.uint8)
    picture[10:30, 10:30] = (90, 60, 30)
    picture[15:20, 15:20] = 255  # a real hole
    picture[5, 5] = 200  # a speck
    mask = plain_mask(picture)
    assert mask.sum() == 20 * 20 - 25 and not mask[17, 17] and not mask[5, 5]
    picture[0, 0] = 0
    with pytest.raises(ValueError, match="background is not of one colour"):
        plain_mask(picture)
    with pytest.raises(ValueError, match="nothing in it stands out"):
        plain_mask(np.full((40, 40, 3), 255, np.uint8))


def test_broken_models_are_named(tree, tmp_path):
    folder = tmp_path / LAMP / "a"
    write_occnet_model(folder, num_views=1)
    (tmp_path / LAMP / "train.lst").write_text("a")
    item = read(tmp_path).records[0]
    np.savez(folder / "pointcloud.npz", points=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="pointcloud.npz: .*it has no normals"):
        item.load()
    picture = folder / "img_choy2016/000.jpg"
    picture.write_bytes(picture.read_bytes()[:700])
    with pytest.raises(ValueError, match="000.jpg: not a readable picture"):
        item.load()
