import numpy as np
import pytest
from scipy.io import savemat

from ast_jax.data.augment import mirror_order
from ast_jax.datasets import ReadOptions, read_dataset
from tests.datasets.cub_checks import assert_camera_hits_the_key_points, assert_camera_sees_the_mask
from tests.datasets.cub_writer import PART_NAMES, make_photos, write_cache, write_images

PERMUTATION = [1, 2, 3, 4, 5, 6, 11, 12, 13, 10, 7, 8, 9, 14, 15]  # counted from 1, as MATLAB does


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The bird in the place of a car; do not write into it."""
    return write_archive(tmp_path_factory.mktemp("pascal"))


def write_archive(root):
    photos = make_photos(3, seed=5)
    write_images(root / "PASCAL3D+_release1.1" / "Images", photos)
    cache = root / "cachedir" / "p3d"
    for split, part in (("train", photos[:2]), ("val", photos[2:])):
        write_cache(cache / "data" / f"car_{split}.mat", cache / "sfm" / f"car_{split}.mat", part)
    write_names(root, [name.replace(" ", "_") for name in PART_NAMES])
    return root


def write_names(root, names, order=PERMUTATION):
    cell = np.array(names, object)
    savemat(root / "cachedir/p3d/data/car_kps.mat", {"kp_names": cell, "kp_perm_inds": np.array(order)[:, None]})


def collect(root, **options):
    return read_dataset("pascal3d", ReadOptions(root, **{"image_size": 0, **options}))


def test_cars(source):
    collection = collect(source)
    assert collection.category == "car" and collection.camera == "orthographic" and collection.problems == ()
    assert [item.object_id for item in collection.records] == ["train_00000", "train_00001", "val_00000"]
    np.testing.assert_array_equal(mirror_order(list(collection.keypoint_names), 15) + 1, PERMUTATION)
    for item in collection.records:
        record = item.load()
        assert record.images.shape == (1, 256, 256, 4)
        assert_camera_sees_the_mask(record)
        assert_camera_hits_the_key_points(record, 1e-5)


def test_names_in_pascals_spelling(tmp_path):
    root = write_archive(tmp_path)
    write_names(root, [n.title().replace(" ", "_").replace("Left_", "L_").replace("Right_", "R_") for n in PART_NAMES])
    assert collect(root).keypoint_names[6:8] == ("left_eye", "left_leg")


def test_order_that_the_names_do_not_make(tmp_path):
    root = write_archive(tmp_path)
    write_names(root, [name.replace(" ", "_") for name in PART_NAMES], [*range(1, 16)])
    with pytest.raises(ValueError, match="car_kps.mat: kp_perm_inds is not the order"):
        collect(root)


def test_what_is_not_there_is_named(source, tmp_path):
    with pytest.raises(ValueError, match="looked for .*PASCAL3D\\+_release1.1/Images"):
        collect(tmp_path)
    with pytest.raises(ValueError, match="has no boat_train.mat"):
        collect(source, category="boat")
    with pytest.raises(ValueError, match="PASCAL3D\\+ has only cmr"):
        collect(source, variant="ast")
    root = write_archive(tmp_path)
    (root / "cachedir/p3d/sfm/car_val.mat").unlink()
    collection = collect(root)
    assert {item.split for item in collection.records} == {"train"}
    assert "sfm/car_val.mat: no such file" in collection.problems[0]
