import os
import re

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.records import prepare_records
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.cub import read_listing
from tests.datasets.cub_checks import assert_camera_hits_the_key_points, assert_camera_sees_the_mask
from tests.datasets.cub_writer import KEYPOINTS, make_photos, write_official

COUNT = 24
TRAIN = [k % 3 != 0 for k in range(COUNT)]


@pytest.fixture(scope="module")
def photos():
    photos = make_photos(COUNT, seed=3)
    photos[5].visible[:] = np.arange(15) < 6  # too few to be kept
    photos[6].visible[:] = np.arange(15) < 7
    return photos


@pytest.fixture(scope="module")
def source(photos, tmp_path_factory):
    """Do not write into it."""
    root = tmp_path_factory.mktemp("cub")
    write_official(root, photos, TRAIN)
    return root


@pytest.fixture(scope="module")
def collection(source):
    return collect(source)


def collect(root, **options):
    return read_dataset("cub", ReadOptions(root, **{"image_size": 0, **options}))


def test_lists_what_has_seven_key_points(collection):
    ids = [item.object_id for item in collection.records]
    assert ids == [f"{k + 1:05d}" for k in range(COUNT) if k != 5]
    assert collection.problems == () and collection.camera == "orthographic"
    assert collection.records[0].provenance == {"image": "001.Bird/Bird_0000.jpg"}


def test_splits(source, collection):
    train = {item.object_id for item in collection.records if item.split == "train"}
    assert train == {f"{k + 1:05d}" for k in range(COUNT) if TRAIN[k] and k != 5}
    halves = [[item.object_id for item in collection.records if item.split == split] for split in ("val", "test")]
    assert [len(half) for half in halves] == [4, 4]
    other = collect(source, variant="ast", seed=1)
    assert halves[0] != [item.object_id for item in other.records if item.split == "val"]
    same = collect(source, variant="ast")
    assert halves[0] == [item.object_id for item in same.records if item.split == "val"]


def test_our_cameras_see_the_mask_and_the_key_points(collection):
    np.testing.assert_allclose(collection.settings["mean_keypoints"], KEYPOINTS, atol=1e-3)
    for item in collection.records[::5]:
        record = item.load()
        assert record.images.shape == (1, 256, 256, 4)
        assert_camera_hits_the_key_points(record, 1e-3)
        assert_camera_sees_the_mask(record)


def test_boxes_begin_with_pixel_zero(source, photos):
    """x and x + width are the first and the last column of the bird, counted from 0; stored numbers begin with 1."""
    listing = read_listing(source / "CUB_200_2011")
    for box, photo in zip(listing.boxes, photos):
        columns, rows = np.flatnonzero(photo.mask.any(0)), np.flatnonzero(photo.mask.any(1))
        np.testing.assert_array_equal(box - 1, [columns[0], rows[0], columns[-1], rows[-1]])
    np.testing.assert_allclose(
        listing.parts[0, photos[0].visible, :2], photos[0].xy[photos[0].visible] + 0.5, atol=1e-5
    )


def test_ast_variant_needs_no_cameras(source):
    collection = collect(source, variant="ast")
    assert collection.camera == "unknown" and len(collection.records) == COUNT - 1
    assert collection.records[0].load().images.shape == (1, 64, 64, 4)


def test_mask_is_what_most_annotators_saw(source, photos):
    """The upper rows that one of five annotators saw are not in it, though the box is moved to show them."""
    item = collect(source, variant="ast").records[0]
    assert item.load().images[0, ..., 3].max() == 255
    grey = np.asarray(Image.open((source / "segmentations" / photos[0].name).with_suffix(".png")))
    assert set(np.unique(grey)) == {0, 51, 204}
    mask = item.load.args[0].mask()  # of its annotation
    np.testing.assert_array_equal(mask, photos[0].mask)


def test_prepared(source, tmp_path):
    index = prepare_records(collect(source, image_size=32, variant="ast"), tmp_path)
    assert {name: len(ids) for name, ids in index["splits"].items()} == {"train": 15, "val": 4, "test": 4}
    assert index["camera"] == "unknown" and index["min_visible"] == 7 and index["skipped"] == []


def test_bad_segmentations_are_named(photos, tmp_path):
    write_official(tmp_path, photos[:12], TRAIN[:12])
    folder = tmp_path / "segmentations" / "001.Bird"
    (folder / "Bird_0000.png").unlink()
    (folder / "Bird_0001.png").write_bytes(b"no picture")
    Image.new("L", (10, 10), 255).save(folder / "Bird_0002.png")
    Image.new("L", (450, 360), 127).save(folder / "Bird_0003.png")  # half of the annotators are not enough
    records = collect(tmp_path, variant="ast").records
    for k, message in enumerate(["Bird_0000.png", "Bird_0001.png", "mask is 10 x 10 px", "its mask is empty"]):
        with pytest.raises(ValueError, match=message):
            records[k].load()
    assert records[4].load().images.any()


@pytest.mark.parametrize(
    "name, change, message, left",
    [
        ("images.txt", lambda text: "x y\n" + text, "images.txt: line 1 is 'x y'", 2),
        ("images.txt", lambda text: text.replace("001.Bird", "../../etc", 1), "refused, '../../etc", 1),
        ("images.txt", lambda text: text.replace("001.Bird", "/etc", 1), "refused, '/etc", 1),
        ("images.txt", lambda text: text.replace("001", "a\\..\\..", 1), "refused, ", 1),
        ("bounding_boxes.txt", lambda text: text.split("\n", 1)[1], "bounding_boxes.txt: says nothing.* of image 1", 1),
        ("bounding_boxes.txt", lambda text: text.replace(" ", " a", 1), "bounding_boxes.txt: says '1 a", 1),
        (
            "bounding_boxes.txt",
            lambda text: "1 nan 0 9 9\n" + text[text.index("\n") + 1 :],
            "boxes.txt: says '1 nan",
            1,
        ),
        ("bounding_boxes.txt", lambda text: text.replace("1 ", "1 1e9", 1), "bounding_boxes.txt: says '1 1e9", 1),
        ("bounding_boxes.txt", lambda text: "1 2 3\n" + text, "bounding_boxes.txt: line 1 is '1 2 3'", 2),
        ("parts/part_locs.txt", lambda text: "1 16 0 0 0\n" + text, "part_locs.txt: a part number of image 1", 2),
        ("parts/part_locs.txt", lambda text: text.split("\n", 1)[1], "part_locs.txt: says .*too little, of image 1", 1),
    ],
)
def test_bad_lines_are_named_and_stop_no_other_picture(photos, tmp_path, name, change, message, left):
    write_official(tmp_path, photos[:2], TRAIN[:2])
    path = tmp_path / "CUB_200_2011" / name
    path.write_text(change(path.read_text()))
    found = collect(tmp_path, variant="ast")
    assert re.search(message, found.problems[0]) and len(found.records) == left
    found.records[-1].load()


@pytest.mark.parametrize("name", ["images.txt", "train_test_split.txt", "bounding_boxes.txt"])
def test_empty_and_senseless_text_files_are_named(photos, tmp_path, name):
    write_official(tmp_path, photos[:2], TRAIN[:2])
    path = tmp_path / "CUB_200_2011" / name
    path.write_text("\n")
    with pytest.raises(ValueError, match=f"{name}: is empty"):
        collect(tmp_path)
    path.write_text("a b\nc\n")
    with pytest.raises(ValueError, match=f"{name}: line 1 is 'a b'"):
        collect(tmp_path)


def test_names_in_another_encoding_find_their_files(photos, tmp_path):
    write_official(tmp_path, photos[:1], [True])
    base = tmp_path / "CUB_200_2011"
    strange = b"001.Bird/V\xf6gel.jpg"
    for folder, suffix in ((base / "images", b".jpg"), (tmp_path / "segmentations", b".png")):
        old = os.fsencode((folder / photos[0].name).with_suffix(suffix.decode()))
        os.rename(old, os.fsencode(folder) + b"/" + strange.removesuffix(b".jpg") + suffix)
    (base / "images.txt").write_bytes(b"1 " + strange + b"\n")
    index = prepare_records(collect(tmp_path, variant="ast", image_size=16), tmp_path / "out")
    assert sum(map(len, index["splits"].values())) == 1 and index["skipped"] == []


def test_missing_parts_of_the_download_are_named(photos, tmp_path):
    with pytest.raises(ValueError, match="looked for .*CUB_200_2011/images"):
        collect(tmp_path)
    write_official(tmp_path, photos[:1], [True])
    (tmp_path / "segmentations").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="has no segmentations .*looked for .*segmentations"):
        collect(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / "segmentations")
    (tmp_path / "CUB_200_2011" / "bounding_boxes.txt").unlink()
    with pytest.raises(ValueError, match="bounding_boxes.txt"):
        collect(tmp_path)


def test_windows_line_ends_and_spaces(photos, tmp_path):
    write_official(tmp_path, photos[:3], TRAIN[:3])
    for path in (tmp_path / "CUB_200_2011").rglob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(collect(tmp_path, variant="ast").records) == 3
