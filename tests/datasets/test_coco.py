"""COCO's JSON: masks against strings that COCO's own tools wrote, frames and key points by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ast_jax.data.augment import mirror_order
from ast_jax.data.records import check_collection, check_record, prepare_records
from ast_jax.datasets import ReadOptions, coco, read_dataset
from ast_jax.datasets.check import check_download
from ast_jax.datasets.coco_masks import segmentation_mask, unpack_counts

HEIGHT, WIDTH = 60, 80
NAMES = ["nose", "left_ear", "right_ear"]


def discs() -> np.ndarray:
    y, x = np.mgrid[:23, :40]
    return ((x - 17) ** 2 + (y - 11) ** 2 < 64) | ((x - 33) ** 2 + (y - 5) ** 2 < 16)


def blocks() -> np.ndarray:
    mask = np.zeros((300, 500), bool)
    mask[100:200, 400:402] = mask[0, 0] = True
    return mask


# pycocotools 2.0.11, mask.encode of the two pictures above.
PACKED = [(discs, "^77>4M2O0O2O000000000001N101N3L`3NcL2O00000001NS2"), (blocks, "01SYe3S3UmZL0dcl0")]


@pytest.mark.parametrize("picture, packed", PACKED)
def test_packed_run_lengths(picture, packed):
    mask = picture()
    found = segmentation_mask({"size": list(mask.shape), "counts": packed}, mask.shape)
    np.testing.assert_array_equal(found, mask)
    plain = segmentation_mask({"size": list(mask.shape), "counts": unpack_counts(packed)}, mask.shape)
    np.testing.assert_array_equal(plain, mask)


def test_polygons_cover_what_they_should():
    box = segmentation_mask([[3, 2, 7.5, 2, 7.5, 6, 3, 6]], (10, 12))
    expected = np.zeros((10, 12))
    expected[2:6, 3:7], expected[2:6, 7] = 1, 0.5
    np.testing.assert_allclose(box, expected, atol=0.26)  # a sample in four on an edge may count or not
    assert abs(box.sum() - 18) < 3
    # pycocotools' mask.frPyObjects gives 304 pixels
    corners = np.array([10.3, 5.1, 30.7, 8.4, 25.2, 28.9, 12.6, 20.3])
    assert abs((segmentation_mask([corners.tolist()], (32, 40)) > 0.5).sum() - 304) <= 6
    two = segmentation_mask([[0, 0, 4, 0, 4, 4, 0, 4], [8, 6, 12, 6, 12, 10, 8, 10]], (10, 12)) > 0.5
    assert two[1, 1] and two[8, 10] and not two[5, 6]


@pytest.mark.parametrize(
    "segmentation, word",
    [
        ({"size": [4, 5], "counts": "01SYe3"}, "do not fill"),
        ({"size": [4, 5], "counts": "4o"}, "cut short"),
        ({"size": [4, 5], "counts": "4 "}, "the character ' '"),
        ({"size": [5, 4], "counts": [20]}, "4 x 5 px, the picture 5 x 4"),
        ({"size": [4, 5], "counts": "o" * 1_000_000}, "has no end"),
        ({"size": [4, 5], "counts": [30, -10]}, "whole numbers from 0"),
        ({"size": [4, 5], "counts": [10.0, 10.0]}, "whole numbers from 0"),
        ({"size": 20, "counts": [20]}, "neither polygons nor run lengths"),
        ([[1, 2, 3, 4]], "fewer than three corners"),
        ([[0, 0, 4, 0, 4, 1e30]], "far off the picture"),
        ([{"a": 1}], "not a list of x and y"),
        ([[1, 2, 3, 4, 5, float("nan")]], "not finite"),
    ],
)
def test_bad_masks(segmentation, word):
    with pytest.raises(ValueError, match=word):
        segmentation_mask(segmentation, (4, 5))


def annotation(number: int, **changes) -> dict:
    """A rectangle of 40 x 30 px with its corner at (10, 20)."""
    item = {
        "id": number,
        "image_id": 1,
        "category_id": 7,
        "bbox": [10, 20, 40, 30],
        "segmentation": [[10, 20, 50, 20, 50, 50, 10, 50]],
        "keypoints": [29, 34, 2, 12, 22, 1, 0, 0, 0],
        "iscrowd": 0,
    }
    return {**item, **changes}


def write(folder: Path, annotations: list[dict], name: str = "instances_val2017", pictures: str = "val2017") -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 7, "name": "zebra", "keypoints": NAMES}, {"id": 9, "name": "horse"}],
        "annotations": annotations,
    }
    for part in ("annotations", pictures):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / f"annotations/{name}.json").write_text(json.dumps(content))
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[20:50, 10:50] = (200, 100, 50)
    Image.fromarray(picture).save(folder / pictures / "a.png")
    return folder


def read(source, category="zebra", **options):
    return read_dataset("coco", ReadOptions(source, category, **options))


def test_an_instance_in_its_square(tmp_path):
    found = read(write(tmp_path, [annotation(5)]), image_size=48)
    assert check_collection(found)[1] == []
    assert found.camera == "unknown" and found.keypoint_names == tuple(NAMES) and found.problems == ()
    np.testing.assert_array_equal(mirror_order(list(found.keypoint_names), 3), [0, 2, 1])
    (item,) = found.records
    assert item.split == "val" and item.provenance == {"image": "a.png", "annotation": 5}
    record = item.load()
    check_record(record, 3)
    # The square is 48 px about (30, 35): its corner lies at (6, 11), a pixel is a pixel.
    expected = np.zeros((48, 48), bool)
    expected[9:39, 4:44] = True
    np.testing.assert_array_equal(record.images[0, ..., 3] > 127, expected)
    assert (record.images[0, 10:38, 5:43, :3] == (200, 100, 50)).all()
    assert record.box_share[0] == pytest.approx(40 / 48)
    # Pixel (29, 34) has its centre at (29.5, 34.5), that is (23.5, 23.5) of the square.
    expected = [2 * 23.5 / 48 - 1, 1 - 2 * 23.5 / 48, 1]
    np.testing.assert_allclose(record.keypoints_ndc[0, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(record.keypoints_ndc[0, 1:], 0)  # labelled but hidden; not labelled


def test_what_is_left_out_is_counted(tmp_path):
    items = [
        annotation(1),
        annotation(2, iscrowd=1),
        annotation(3, bbox=[0, 0, 10, 31]),
        annotation(4, segmentation=[]),
        annotation(5, category_id=9),
        annotation(6, image_id=99),
    ]
    found = read(write(tmp_path, items))
    assert [item.provenance["annotation"] for item in found.records] == [1]
    assert [note.split(": ")[1] for note in found.notices] == [
        "1 instances crowds left out.",
        "1 instances too small left out.",
    ]
    assert [problem.split(": ")[1] for problem in found.problems] == [
        "1 instances without a mask left out.",
        "1 instances of unknown pictures left out.",
    ]
    more = coco.read(ReadOptions(tmp_path, "zebra"), min_box_side=8.0)
    assert len(more.records) == 2


def test_what_is_left_out_by_design_stops_nothing(tmp_path):
    write(tmp_path / "source", [annotation(1), annotation(2, iscrowd=1)])
    assert not check_download(read(tmp_path / "source")).problems
    index = prepare_records(read(tmp_path / "source", image_size=16), tmp_path / "out", on_error="raise")
    assert index["skipped"] == [] and "1 instances crowds left out." in index["notices"][0]


def test_objects_that_show_no_key_point_are_named(tmp_path):
    hidden = annotation(2, keypoints=[29, 34, 1, 0, 0, 0, 0, 0, 0])
    write(tmp_path / "source", [annotation(1), hidden])
    index = prepare_records(read(tmp_path / "source", image_size=16), tmp_path / "out")
    assert sum(map(len, index["splits"].values())) == 1
    assert index["skipped"] == ["instances_val2017_2: none of its key points is visible."]
    with pytest.raises(ValueError, match="none of its key points is visible"):
        prepare_records(read(tmp_path / "source", image_size=16), tmp_path / "again", on_error="raise")


def test_a_box_is_found_where_there_is_none(tmp_path):
    item = annotation(1)
    del item["bbox"]
    record = read(write(tmp_path, [item]), image_size=48).records[0].load()
    assert (record.images[0, ..., 3] > 127).sum() == 40 * 30


def test_splits_keep_the_instances_of_a_picture_together(tmp_path):
    items = [annotation(k, image_id=k % 20) for k in range(60)]
    write(tmp_path, items, name="my_labels")
    path = tmp_path / "annotations/my_labels.json"
    content = json.loads(path.read_text())
    content["images"] = [{**content["images"][0], "id": k} for k in range(20)]
    path.write_text(json.dumps(content))
    found = read(path)
    splits = {}
    for item in found.records:
        splits.setdefault(item.provenance["annotation"] % 20, set()).add(item.split)
    assert all(len(names) == 1 for names in splits.values())
    assert {name for names in splits.values() for name in names} == {"train", "val", "test"}
    assert read(path, seed=1).records != found.records


def test_unknown_category_and_files(tmp_path):
    write(tmp_path, [annotation(1)])
    with pytest.raises(ValueError, match=r"category='zebr': .*has horse, zebra; did you mean 'zebra'\?"):
        read(tmp_path, "zebr")
    with pytest.raises(ValueError, match="variant='boxes'"):
        read(tmp_path, variant="boxes")
    with pytest.raises(ValueError, match="no instances_"):
        read(tmp_path / "val2017")
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(ValueError, match="bad.json: not COCO's format, it has no list images"):
        read(tmp_path / "bad.json")


def test_malformed_annotations_stop_no_other(tmp_path):
    nameless = annotation(1)
    del nameless["id"]
    bad = [nameless, 7, annotation(2, bbox=[1, 2, "x", 3]), annotation(3, bbox=[0, 0, float("nan"), 5])]
    found = read(write(tmp_path, [*bad, annotation(4), annotation(5, image_id=[])]))
    assert [item.provenance["annotation"] for item in found.records] == [4]
    assert [line.split("annotation ")[1][0] for line in found.problems] == ["0", "1", "2", "3", "5"]
    assert "instances_val2017.json: annotation 0 of the list: KeyError: 'id'" in found.problems[0]


@pytest.mark.parametrize(
    "box", [[0, 0, 1e9, 1e9], [1e9, 0, 40, 40], [0, 0, 1e300, 1], [0, 0, 40, -40], [0, 0, 1e999, 9]]
)
def test_boxes_without_sense_are_named(tmp_path, box):
    (item,) = read(write(tmp_path, [annotation(6, bbox=box)])).records
    with pytest.raises(ValueError, match="annotation 6: (the|its) box"):
        item.load()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("point", [[1e300, 2, 2], [2, -1e300, 2], [3e38, 3e38, 2]])
def test_key_points_that_overflow_are_refused_without_a_warning(tmp_path, point):
    write(tmp_path, [annotation(1, keypoints=[*point, 5, 5, 2])])
    found = read(tmp_path)
    with pytest.raises(ValueError, match="annotation 1|not finite|outside"):
        found.records[0].read(len(found.keypoint_names))


def test_bad_instances_are_named(tmp_path):
    write(tmp_path, [annotation(3, segmentation=[[1, 2]]), annotation(4, segmentation=[[70, 0, 79, 0, 79, 9, 70, 9]])])
    first, second = read(tmp_path).records
    with pytest.raises(ValueError, match="val2017.json: annotation 3: .*three corners"):
        first.load()
    with pytest.raises(ValueError, match="annotation 4: no pixel of the mask"):
        second.load()
    Image.new("RGB", (9, 9)).save(tmp_path / "val2017/a.png")
    with pytest.raises(ValueError, match="a.png: 9 x 9 px, instances_val2017.json says otherwise"):
        first.load()
    (tmp_path / "val2017/a.png").unlink()
    with pytest.raises(ValueError, match="a.png: no such file"):
        first.load()


def test_pictures_outside_the_folder_are_refused(tmp_path):
    write(tmp_path, [annotation(1)])
    path = tmp_path / "annotations/instances_val2017.json"
    path.write_text(path.read_text().replace('"a.png"', '"../../a.png"'))
    with pytest.raises(ValueError, match="refused, '../../a.png' leads outside"):
        read(tmp_path).records[0].load()
