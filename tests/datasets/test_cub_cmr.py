import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from ast_jax.data.augment import Draw, mirror_order
from ast_jax.data.frames import cmr_square
from ast_jax.data.pipeline import DataSource, make_batch
from ast_jax.data.records import prepare_records
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.cub_cmr import KEYPOINT_NAMES
from render import WeakPerspectiveCamera, to_cmr
from tests.datasets.cub_checks import assert_camera_hits_the_key_points, assert_camera_sees_the_mask
from tests.datasets.cub_writer import (
    KEYPOINTS,
    TO_CMR_WORLD,
    camera_row,
    image_row,
    make_photos,
    structs,
    write_cache,
    write_images,
)

COUNTS = {"train": 3, "val": 2, "test": 1}
# The published permutation of CMR, counted from 0.
PERMUTATION = [0, 1, 2, 3, 4, 5, 10, 11, 12, 9, 6, 7, 8, 13, 14]


@pytest.fixture(scope="module")
def photos():
    return make_photos(6)


@pytest.fixture(scope="module")
def source(photos, tmp_path_factory):
    """Do not write into it."""
    return write_archive(tmp_path_factory.mktemp("cub"), photos)


def write_archive(root, photos):
    write_images(root / "CUB_200_2011" / "images", photos)
    start = 0
    for split, count in COUNTS.items():
        cache = root / "cachedir" / "cub"
        write_cache(
            cache / "data" / f"{split}_cub_cleaned.mat",
            cache / "sfm" / f"anno_{split}.mat",
            photos[start : start + count],
        )
        start += count
    return root


def collect(root, **options):
    return read_dataset("cub_cmr", ReadOptions(root, **{"image_size": 0, **options}))


def test_lists_what_is_there(source):
    collection = collect(source)
    assert collection.camera == "orthographic" and collection.category == "bird" and collection.problems == ()
    assert [item.split for item in collection.records] == ["train"] * 3 + ["val"] * 2 + ["test"]
    assert collection.records[0].object_id == "train_00000"
    assert collection.records[0].provenance == {"image": "001.Bird/Bird_0000.jpg"}
    assert collection.expected["train"] == 5964
    # The mean key points come back in our axes.
    np.testing.assert_allclose(collection.settings["mean_keypoints"], KEYPOINTS, atol=1e-4)


def test_names_make_the_published_permutation():
    np.testing.assert_array_equal(mirror_order(list(KEYPOINT_NAMES), 15), PERMUTATION)


def test_loaded_cameras_see_the_mask_and_the_key_points(source, photos):
    for item, photo in zip(collect(source).records, photos):
        record = item.load()
        assert record.images.shape == (1, 256, 256, 4) and record.images.dtype == np.uint8
        assert_camera_sees_the_mask(record)
        assert_camera_hits_the_key_points(record, 1e-5)
        np.testing.assert_array_equal(record.keypoints_ndc[0, :, 2], photo.visible)


def test_picture_is_that_of_the_photograph(source, photos):
    """The bird is bright, all else dark or white: alpha lies on the bird."""
    image = collect(source).records[0].load().images[0].astype(float)
    mask = image[..., 3] > 127
    grey = image[..., :3].mean(-1)
    assert grey[mask].mean() > 130
    square = cmr_square(photos[0].box + 1.0)
    rows, columns = (
        np.floor(start + (np.arange(256) + 0.5) * square.side / 256) for start in (square.top, square.left)
    )
    outside = (rows < 0) | (rows >= 360), (columns < 0) | (columns >= 450)
    assert (image[outside[0]][..., :3] > 250).all() and (image[:, outside[1], :3] > 250).all()


def test_box_share_is_of_the_box_without_padding(source, photos):
    for item, photo in zip(collect(source).records, photos):
        side = (photo.box[2:] - photo.box[:2]).max() + 1
        np.testing.assert_allclose(item.load().box_share, [side / cmr_square(photo.box + 1.0).side], rtol=1e-6)


def test_published_camera_is_ours_but_for_half_a_pixel(source, photos):
    """CMR's seven numbers of the square, by its own formulas, against the stored camera."""
    for item, photo in zip(collect(source).records, photos):
        record, row, square = item.load(), camera_row(photo), cmr_square(photo.box + 1.0)
        factor = 256 / square.side
        scale = row["scale"] * factor * (1 / 256 + 1 / 256)
        shift = 2 * ((row["trans"] - [square.left, square.top]) * factor / 256) - 1
        # CMR's world: rotation of the file before the turn to our axes.
        view = np.diag([1, -1, -1]) @ record.rotation[0] @ TO_CMR_WORLD.T
        np.testing.assert_allclose(view, row["rot"], atol=1e-6)
        np.testing.assert_allclose(record.focal[0], [scale, scale], rtol=1e-6)
        np.testing.assert_allclose(record.principal[0] * [1, -1], shift - 1 / square.side, atol=1e-6)


def test_ast_variant(source, photos):
    collection = collect(source, variant="ast")
    assert collection.camera == "unknown" and "mean_keypoints" not in collection.settings
    record = collection.records[0].load()
    assert record.images.shape == (1, 64, 64, 4)
    assert set(np.unique(record.images[..., 3])) == {0, 255}  # nearest neighbour
    # The published shuffle of val and test: numpy's legacy generator with seed 123.
    entries = np.array(["a", "b"], object)
    np.random.RandomState(123).shuffle(entries)
    assert [item.object_id for item in collection.records[3:5]] == [f"val_0000{'ab'.index(name)}" for name in entries]


def test_mirrored_sample_is_the_published_flip(source, tmp_path):
    """Picture, key points and camera of the pipeline against CMR's formulas, in pixels of the square."""
    prepare_records(collect(source, image_size=64), tmp_path)
    config = {"image_size": 64, "render_size": 64, "input_crop": "frame", "num_target_views": 1}
    data = DataSource(tmp_path, "train", config)
    straight, mirrored = (make_batch(data, [Draw((1,), mirror=flag)], data.config) for flag in (False, True))
    np.testing.assert_allclose(mirrored.target_images, straight.target_images[:, :, :, ::-1], atol=1e-6)
    np.testing.assert_allclose(mirrored.image, straight.image[:, :, ::-1], atol=1e-6)

    def pixels(ndc):  # CMR's: 0 is the centre of the first pixel
        return (np.asarray(ndc) + 1) / 2 * 64 - 0.5

    before, after = straight.keypoints_ndc[0, 0], mirrored.keypoints_ndc[0, 0]
    flipped = np.stack([64 - pixels(before[:, 0]) - 1, pixels(before[:, 1]), before[:, 2]], -1)[PERMUTATION]
    seen = flipped[:, 2] > 0
    np.testing.assert_allclose(pixels(after[seen, :2]), flipped[seen, :2], atol=1e-4)
    np.testing.assert_array_equal(after[:, 2], flipped[:, 2])

    (scale, tx, ty, *turn), (new_scale, new_tx, new_ty, *new_turn) = (
        cmr_numbers(b.camera) for b in (straight, mirrored)
    )
    np.testing.assert_allclose([new_scale, pixels(new_ty)], [scale, pixels(ty)], atol=1e-4)
    np.testing.assert_allclose(pixels(new_tx), 64 - pixels(tx) - 1, atol=1e-4)
    flip = np.diag([-1, 1, 1])
    rotation, new_rotation = (Rotation.from_quat(q, scalar_first=True).as_matrix() for q in (turn, new_turn))
    np.testing.assert_allclose(new_rotation, flip @ rotation @ flip, atol=1e-5)


def cmr_numbers(camera):
    """s, tx, ty, quaternion of the first camera of a batch."""
    quaternion = Rotation.from_matrix(np.asarray(camera.rotation[0, 0])).as_quat(scalar_first=True)
    numbers = camera.scale[0, :1, 0], camera.principal[0, :1], quaternion[None]
    return np.asarray(to_cmr(WeakPerspectiveCamera(*(np.asarray(n, np.float32) for n in numbers))))[0]


def test_one_image_only(photos, tmp_path):
    """A struct array of one element comes out of scipy without its axis."""
    write_images(tmp_path / "images", photos[:1])
    write_cache(
        tmp_path / "cub" / "data" / "train_cub_cleaned.mat", tmp_path / "cub" / "sfm" / "anno_train.mat", photos[:1]
    )
    collection = collect(tmp_path)
    assert len(collection.records) == 1
    assert [problem.split(":")[0] for problem in collection.problems] == [
        "split val is left out",
        "split test is left out",
    ]
    assert "val_cub_cleaned.mat: no such file" in collection.problems[0]


def test_wrong_source_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match="no folder of CUB's photographs; looked for .*CUB_200_2011/images"):
        collect(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="no annotation cache of CMR; looked for .*cachedir/cub/data"):
        collect(tmp_path)
    with pytest.raises(ValueError, match="variant='x': choose one of cmr, ast"):
        collect(tmp_path, variant="x")


def break_text(path):
    path.write_text("no MATLAB file")


def break_hdf5(path):
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(512))


def break_half(path):
    path.write_bytes(path.read_bytes()[:500])


def break_name(path):
    savemat(path, {"other": 1})


def break_field(path):
    savemat(path, {"images": structs([{"rel_path": "a.jpg"}]), "sfm_anno": structs([{"scale": 1.0}])})


@pytest.mark.parametrize(
    "change, message",
    [
        (break_text, "not a readable MATLAB file"),
        (break_hdf5, "save it again with save"),
        (break_half, "not a readable MATLAB file"),
        (break_name, "has no variable"),
        (break_field, "has no field"),
    ],
)
@pytest.mark.parametrize("kind", ["data/{}_cub_cleaned.mat", "sfm/anno_{}.mat"])
def test_broken_mat_files_are_named(photos, tmp_path, change, message, kind):
    root = write_archive(tmp_path, photos)
    change(root / "cachedir" / "cub" / kind.format("val"))
    collection = collect(root)
    assert {item.split for item in collection.records} == {"train", "test"}
    (problem,) = collection.problems
    assert kind.format("val").split("/")[1] in problem and message in problem


def test_lengths_that_differ(photos, tmp_path):
    root = write_archive(tmp_path, photos)
    cache = root / "cachedir" / "cub"
    (cache / "sfm" / "anno_val.mat").write_bytes((cache / "sfm" / "anno_train.mat").read_bytes())
    assert "anno_val.mat: 3 cameras for 2 images" in collect(root).problems[0]


def one_photo(tmp_path, photo, image_changes=(), camera_changes=()):
    """A data set of one photograph, some fields changed; its loader."""
    write_images(tmp_path / "images", [photo])
    for folder, name, row in (
        ("data/train_cub_cleaned.mat", "images", image_row(photo, 1) | dict(image_changes)),
        ("sfm/anno_train.mat", "sfm_anno", camera_row(photo) | dict(camera_changes)),
    ):
        path = tmp_path / "cub" / folder
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {name: structs([row])})
    return collect(tmp_path).records[0].load


@pytest.mark.parametrize(
    "image, camera, message",
    [
        ({"bbox": {"x1": 460.0, "y1": 10.0, "x2": 500.0, "y2": 60.0}}, {}, "outside the 450 x 360 px"),
        ({"bbox": {"x1": 50.0, "y1": 10.0, "x2": 40.0, "y2": 60.0}}, {}, "expected x1, y1, x2, y2"),
        ({"bbox": {"x1": 1.0, "y1": 1.0, "x2": 1e9, "y2": 60.0}}, {}, "outside the 450 x 360 px"),
        ({"bbox": {"x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}}, {}, "mask and box do not fit"),
        ({"bbox": {"x1": np.nan, "y1": 1.0, "x2": 9.0, "y2": 9.0}}, {}, "its box"),
        ({"mask": np.ones((100, 100), np.uint8)}, {}, "mask is 100 x 100 px but 450 x 360 px"),
        ({"mask": np.zeros((360, 450), np.uint8)}, {}, "its mask is empty"),
        ({"parts": np.zeros((3, 15))}, {}, "none of its key points is visible"),
        ({"parts": np.full((3, 15), np.inf)}, {}, "a key point is not finite"),
        ({}, {"rot": np.diag([1.0, 1.0, -1.0])}, "the rotation of its camera"),
        ({}, {"rot": np.zeros((3, 3))}, "the rotation of its camera"),
        ({}, {"scale": 0.0}, "its camera has scale 0.0"),
        ({}, {"trans": np.array([np.nan, 0.0])}, "not finite"),
    ],
)
def test_bad_annotations_name_the_picture(tmp_path, photos, image, camera, message):
    load = one_photo(tmp_path, photos[0], image, camera)
    with pytest.raises(ValueError, match=f"Bird_0000.jpg.*{message}"):
        load()


def test_parts_of_another_shape_name_the_file(tmp_path, photos):
    with pytest.raises(ValueError, match="train_cub_cleaned.mat.*Bird_0000.jpg: parts are"):
        one_photo(tmp_path, photos[0], {"parts": np.ones((2, 15))})


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_photographs(tmp_path, photos, mode):
    load = one_photo(tmp_path, photos[0])
    path = tmp_path / "images" / photos[0].name
    Image.open(path).convert(mode).save(path, quality=95)
    image = load().images[0].astype(float)
    assert image.shape == (256, 256, 4)
    if mode == "L":
        assert np.ptp(image[..., :3], axis=-1).max() == 0
    assert image[image[..., 3] > 127][:, :3].mean() > 130


def test_missing_and_truncated_photographs_are_skipped_by_name(tmp_path, photos):
    root = write_archive(tmp_path / "source", photos)
    images = root / "CUB_200_2011" / "images"
    (images / photos[0].name).unlink()
    path = images / photos[1].name
    path.write_bytes(path.read_bytes()[:2000])
    index = prepare_records(collect(root, image_size=32), tmp_path / "data")
    assert [len(ids) for ids in index["splits"].values()] == [1, 2, 1]
    assert [line.split(":")[0] for line in index["skipped"]] == ["train_00000", "train_00001"]
    assert "Bird_0000.jpg" in index["skipped"][0] and "Bird_0001.jpg" in index["skipped"][1]


def test_same_bytes_again(source):
    first, again = (collect(source).records[0].load() for _ in range(2))
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))


@pytest.mark.parametrize("variant", ["cmr", "ast"])
def test_the_annotated_box_is_stored_in_the_square(source, photos, variant):
    """The mask fills its box, so the stored mask ends where the stored box does."""
    record = collect(source, variant=variant).records[0].load()
    mask = record.images[0, ..., 3] > 127
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(mask)
    np.testing.assert_allclose(record.box[0], found, atol=1.5 / len(mask))
    width, height = record.box[0, 2:] - record.box[0, :2]
    assert max(width, height) == pytest.approx(record.box_share[0])
