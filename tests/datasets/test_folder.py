"""A folder of photographs: its layouts, cameras that see the pictures, key points that stay in place."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.records import check_collection, check_record, prepare_records
from ast_jax.data.store import load_index, load_object
from ast_jax.datasets import ReadOptions, read_dataset
from tests.datasets.seen import iou, masks_of
from tests.datasets.shapenet_writer import BOXES, mesh_of, opencv_axes, orbit_eye, zip_folder

HEIGHT, WIDTH = 40, 60


def read(source, **options):
    return read_dataset("folder", ReadOptions(Path(source), **options))


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def mask() -> np.ndarray:
    """20 x 10 px with its corner at (30, 15)."""
    result = np.zeros((HEIGHT, WIDTH), np.uint8)
    result[15:25, 30:50] = 255
    return result


def save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.mark.parametrize("options", [{"image_size": -4}, {"seed": -1}, {"image_size": 10**7}])
def test_numbers_without_sense_are_refused_before_anything_is_looked_for(tmp_path, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        read(tmp_path / "nowhere", **options)


@pytest.mark.parametrize(
    "picture, mask_name",
    [
        ("a.jpg", "a_mask.png"),
        ("a.png", "masks/a.png"),
        ("a.jpg", "masks/a_mask.png"),
        ("images/a.jpg", "masks/a.png"),
        ("images/sub/a.jpg", "masks/sub/a.png"),
        ("sub/a.JPG", "sub/masks/a.png"),
        ("sub/images/a.jpg", "sub/mask/a.png"),
        ("a.png", None),
    ],
)
def test_layouts_of_masks(tmp_path, picture, mask_name):
    if mask_name is None:
        save(np.concatenate([noise(), mask()[..., None]], -1), tmp_path / picture)
    else:
        save(noise(), tmp_path / picture)
        save(mask(), tmp_path / mask_name)
    found = read(tmp_path, image_size=24, category="mug")
    assert check_collection(found)[1] == []
    (item,) = found.records
    assert (found.category, found.camera) == ("mug", "unknown")
    assert item.object_id == ("sub__a" if "sub" in picture else "a")
    record = item.load()
    check_record(record, 0)
    # The square is 24 px about (40, 20): the object lies at 2 to 22 across, 7 to 17 down.
    expected = np.zeros((24, 24), bool)
    expected[7:17, 2:22] = True
    np.testing.assert_array_equal(record.images[0, ..., 3] > 127, expected)
    assert record.box_share[0] == pytest.approx(20 / 24)
    if picture.endswith("png"):
        np.testing.assert_array_equal(record.images[0, 7:17, 2:22, :3], noise()[15:25, 30:50])


def test_a_plain_background_needs_no_mask(tmp_path):
    save(np.where(mask()[..., None] > 0, np.uint8(30), np.full((HEIGHT, WIDTH, 3), 250, np.uint8)), tmp_path / "a.png")
    assert (read(tmp_path, image_size=24).records[0].load().images[..., 3] > 127).sum() == 200
    save(noise(), tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png: no mask, and its background is not of one colour"):
        read(tmp_path).records[1].load()


def many(tmp_path, count=20) -> Path:
    for k in range(count):
        save(np.concatenate([noise(), mask()[..., None]], -1), tmp_path / f"photos/p {k:02d}.png")
    return tmp_path / "photos"


def test_splits_are_drawn_or_listed(tmp_path):
    folder = many(tmp_path)
    splits = [item.split for item in read(folder).records]
    assert [splits.count(name) for name in ("train", "val", "test")] == [16, 2, 2]
    assert [item.split for item in read(folder).records] == splits
    assert [item.split for item in read(folder, seed=1).records] != splits
    (folder / "train.txt").write_text("p 03.png\n./p 04.png\n\np 05\n")
    (folder / "test.txt").write_text("p 01.png\n")
    listed = read(folder)
    assert {item.object_id: item.split for item in listed.records} == {
        "p_01": "test",
        "p_03": "train",
        "p_04": "train",
        "p_05": "train",
    }
    assert len(listed.problems) == 16 and "p_00: in none of train.txt" in listed.problems[0]
    (folder / "val.txt").write_text("p 03.png\n")
    with pytest.raises(ValueError, match=r"val.txt: 'p 03.png' is in train.txt, too"):
        read(folder)
    (folder / "val.txt").write_text("p 99.png\n")
    with pytest.raises(ValueError, match=r"val.txt: 'p 99.png' is no picture"):
        read(folder)


def test_prepared_as_a_data_set_and_from_a_zip(tmp_path):
    folder = many(tmp_path, 4)
    zip_folder(folder, tmp_path / "mine.zip")
    prepare_records(read(tmp_path / "mine.zip", image_size=16), tmp_path / "out")
    index = load_index(tmp_path / "out")
    assert index["camera"] == "unknown" and sum(map(len, index["splits"].values())) == 4


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_key_points_stay_on_their_pixel(tmp_path, kind):
    folder = many(tmp_path, 2)
    if kind == "json":
        rows = {"p 00.png": [[40.0, 20.0, 1], [30.0, 15.0, 1], [1.0, 1.0, 0]]}
        content = {"names": ["tip", "left_end", "right_end"], "keypoints": rows}
        (folder / "keypoints.json").write_text(json.dumps(content))
    else:
        lines = [
            "image,name,x,y,visible",
            "p 00.png,tip,40,20,1",
            "p 00.png,left_end,30,15,",
            "p 00.png,right_end,1,1,0",
        ]
        (folder / "keypoints.csv").write_text("\n".join(lines))
    found = read(folder, image_size=48)
    assert found.keypoint_names == ("tip", "left_end", "right_end")
    first, second = (item.load().keypoints_ndc[0] for item in found.records)
    np.testing.assert_allclose(first, [[0, 0, 1], [-10 / 12, 5 / 12, 1], [0, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(second, np.zeros((3, 3)))


@pytest.mark.parametrize(
    "name, content, word",
    [
        ("keypoints.json", '{"names": ["a"], "keypoints": {"p 00.png": [[1, 2]]}}', "a row for each name"),
        ("keypoints.json", '{"names": ["a"]}', "expected"),
        ("keypoints.csv", "image,x,y\na.png,1,2", "expected the columns image,name,x,y"),
        ("cameras.json", "[]", "expected"),
        ("cameras.json", "{", "not a readable JSON"),
    ],
)
def test_bad_annotations_are_named(tmp_path, name, content, word):
    folder = many(tmp_path, 1)
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}: .*{word}"):
        read(folder)


def views(tmp_path, ours: bool) -> Path:
    """Two objects of two views each, seen by off-centre cameras of a wide picture."""
    entries, half = {}, np.array([180.0, 135.0])
    focal, principal = np.array([390.0, 420.0]), np.array([198.0, 123.0])
    for name in ("one", "two"):
        for i in range(2):
            eye = orbit_eye(40 + 130 * i, 20, 2.0)
            right, up, forward = opencv_axes(eye)
            rotation = np.stack([right, -up, forward])
            shift = -rotation @ eye
            save(photograph(eye, rotation, focal, principal), tmp_path / f"{name}/{i}.png")
            k = [[focal[0], 0, principal[0]], [0, focal[1], principal[1]], [0, 0, 1]]
            entry = {"K": k, "R": rotation.tolist(), "t": shift.tolist()}
            if ours:
                entry = {
                    "rotation": (np.diag([1, -1, -1]) @ rotation).tolist(),
                    "translation": (shift * [1, -1, -1]).tolist(),
                    "focal": (focal / half).tolist(),
                    "principal": ((principal / half - 1) * [1, -1]).tolist(),
                }
            entries[f"{name}/{i}.png"] = entry
    (tmp_path / "cameras.json").write_text(json.dumps({"cameras": entries}))
    return tmp_path


def photograph(eye, rotation, focal, principal) -> np.ndarray:
    """RGBA of the boxes, 270 x 360 px, a ray through each pixel centre of an OpenCV camera."""
    y, x = np.mgrid[:270, :360] + 0.5
    rays = np.stack([(x - principal[0]) / focal[0], (y - principal[1]) / focal[1], np.ones_like(x)], -1) @ rotation
    meet = (BOXES[:, :, None, None] - eye) / rays
    hit = (meet.min(1).max(-1) <= meet.max(1).min(-1)).any(0)
    return np.where(hit[..., None], np.uint8([90, 120, 30, 255]), np.zeros(4, np.uint8))


@pytest.mark.parametrize("ours", [False, True])
def test_cameras_of_the_pictures_see_the_squares(tmp_path, ours):
    found = read(views(tmp_path, ours), image_size=64)
    assert found.camera == "perspective"
    assert [item.object_id for item in found.records] == ["one", "two"]
    record = found.records[0].load()
    check_record(record)
    drawn = masks_of(record, mesh_of(BOXES))
    for view in range(2):
        assert iou(drawn[view], record.images[view, ..., 3] > 127) >= 0.98


def test_cameras_that_are_missing_or_none(tmp_path):
    views(tmp_path, False)
    path = tmp_path / "cameras.json"
    content = json.loads(path.read_text())
    content["cameras"].pop("two/1.png")
    content["cameras"]["one/0.png"] = {"K": [1, 2, 3]}
    path.write_text(json.dumps(content))
    one, two = read(tmp_path).records
    with pytest.raises(ValueError, match="cameras.json: one/0.png: needs K, R, t, or rotation"):
        one.load()
    with pytest.raises(ValueError, match="cameras.json: has no camera of 'two/1.png'"):
        two.load()
    content["cameras"]["one/0.png"] = {"K": [1, 2, 3], "R": np.eye(3).tolist(), "t": [0, 0, 1]}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="one/0.png: K is not 3 x 3 numbers"):
        read(tmp_path).records[0].load()


def test_bad_folders(tmp_path):
    with pytest.raises(ValueError, match="no picture there"):
        read(tmp_path)
    save(noise(), tmp_path / "a.png")
    save(np.zeros((HEIGHT, WIDTH), np.uint8), tmp_path / "masks/a.png")
    with pytest.raises(ValueError, match="masks.a.png: the mask is empty"):
        read(tmp_path).records[0].load()
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="a.png: not a readable picture"):
        read(tmp_path).records[0].load()


def test_pictures_that_show_no_key_point_are_named_where_there_are_key_points(tmp_path):
    folder = many(tmp_path, 2)
    prepare_records(read(folder, image_size=16), tmp_path / "none", on_error="raise")
    content = {"names": ["tip"], "keypoints": {"p 00.png": [[40.0, 20.0, 1]]}}
    (folder / "keypoints.json").write_text(json.dumps(content))
    index = prepare_records(read(folder, image_size=16), tmp_path / "some")
    assert index["skipped"] == ["p_01: none of its key points is visible."]
    with pytest.raises(ValueError, match="none of its key points is visible"):
        prepare_records(read(folder, image_size=16), tmp_path / "raise", on_error="raise")


def test_masks_are_looked_for_when_a_download_is_looked_over(tmp_path):
    folder = many(tmp_path, 2)
    (folder / "p 00_mask.png").write_bytes(b"")
    files = [path for item in read(folder, checking=True).records for path in item.files]
    assert folder / "p 00.png" in files and folder / "p 00_mask.png" in files


def rgba() -> np.ndarray:
    return np.concatenate([noise(), mask()[..., None]], -1)


def test_what_is_left_out_is_counted_and_named(tmp_path):
    for name in ("a.png", "gas-mask.png", "b.png", "masks/nobody.png", "Ж.png"):
        save(rgba(), tmp_path / name)
    save(mask(), tmp_path / "b_mask.png")
    for name in ("c.heic", "d.heic", "c_mask.png", ".hidden.heic", "train.tiff.bak"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    found = read(tmp_path)
    assert [item.provenance["files"] for item in found.records] == [["a.png"], ["b.png"], ["gas-mask.png"], ["Ж.png"]]
    assert set(found.notices) >= {
        "2 x .heic left out, not a picture that is read: c.heic, d.heic.",
        "1 x .bak left out, not a picture that is read: train.tiff.bak.",
        "1 x .jpg left out, not a picture that is read: gone.jpg.",
        "2 x .png left out, a mask without a picture: c_mask.png, masks/nobody.png.",
        "1 x .png taken as a picture, for it is the mask of none: gas-mask.png.",
    }
    save(rgba(), tmp_path / "gas.jpeg.png")
    save(noise(), tmp_path / "gas.jpg")
    assert "gas-mask" not in [item.object_id for item in read(tmp_path).records]


def test_names_that_repeat_or_have_no_ascii_letters_stop_nothing(tmp_path):
    for name in ("a.png", "a.bmp", "A.png", "鳥.png", "犬.png", "-.png", "a\udcff.png", "x" * 240 + ".png"):
        save(rgba() if name.endswith("png") else noise(), tmp_path / name)
    save(mask(), tmp_path / "masks/a.png")
    found = read(tmp_path, image_size=16)
    check_collection(found)
    assert len({item.object_id.casefold() for item in found.records}) == 8
    assert all(len(item.object_id.encode()) < 200 for item in found.records)
    assert any("is taken" in note for note in found.notices)
    (tmp_path / "train.txt").write_text("a.bmp\n犬\n")
    listed = [item for item in read(tmp_path).records if item.split == "train"]
    assert [item.provenance["files"] for item in listed] == [["a.bmp"], ["犬.png"]]
    index = prepare_records(found, tmp_path / "out")
    assert sum(map(len, index["splits"].values())) == 8 and not index["skipped"]


def test_notices_of_pictures_stay_in_the_index(tmp_path):
    whole = rgba()
    whole[2, 3, 3] = 255  # a stray pixel
    save(whole, tmp_path / "in/a.png")
    for _ in range(2):  # the second time it is not read again
        index = prepare_records(read(tmp_path / "in", image_size=24), tmp_path / "out")
        assert index["notices"] == ["a: a.png: 1 stray part of the mask, 1 px, is left out"]
    record = load_object(tmp_path / "out", "a")
    assert record.box_share[0] == pytest.approx(20 / 24) and (record.images[..., 3] > 127).sum() == 200
