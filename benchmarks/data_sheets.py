"""Draws the contact sheets of docs/data/: what a check makes of small archives in the published formats.

Run: python -m benchmarks.data_sheets --output=docs/images/data

The archives hold generated stand-ins, written by the writers of the tests: none of the published pictures are at hand.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw
from scipy.io import savemat

from ast_jax.data.records import prepare_records
from ast_jax.datasets import ReadOptions, read_dataset
from ast_jax.datasets.check import check_download
from tests.datasets.cub_writer import PART_NAMES, Photo, make_photos, write_cache, write_images, write_official
from tests.datasets.shapenet_writer import TO_V1, write_dvr_model, write_nmr, write_occnet_model

COUNT = 16
STRIP = 16  # px, height of the label
COLOURS = 128  # of the palette that keeps the files small
CHAIR = "03001627"
# Counted from 1, as MATLAB does: left and right of the key points.
MIRROR = (1, 2, 3, 4, 5, 6, 11, 12, 13, 10, 7, 8, 9, 14, 15)


def photos() -> list[Photo]:
    """Birds of ellipsoids on noise."""
    return make_photos(COUNT, size=(180, 240), scale=70.0)


def write_cub(root: Path) -> None:
    """CUB-200-2011 as it is published."""
    write_official(root, photos(), [k % 2 == 0 for k in range(COUNT)])


def write_cub_cmr(root: Path) -> None:
    """The same with CMR's cache."""
    write_images(root / "CUB_200_2011/images", photos())
    for k, split in enumerate(("train", "val", "test")):
        cache = root / "cachedir/cub"
        part = photos()[k::3]
        write_cache(cache / f"data/{split}_cub_cleaned.mat", cache / f"sfm/anno_{split}.mat", part)


def write_pascal3d(root: Path) -> None:
    """U-CMR's cache of PASCAL3D+, with the birds in the place of cars."""
    write_images(root / "PASCAL3D+_release1.1/Images", photos())
    cache = root / "cachedir/p3d"
    for k, split in enumerate(("train", "val")):
        write_cache(cache / f"data/car_{split}.mat", cache / f"sfm/car_{split}.mat", photos()[k::2])
    names = np.array([name.replace(" ", "_") for name in PART_NAMES], object)
    savemat(cache / "data/car_kps.mat", {"kp_names": names, "kp_perm_inds": np.array(MIRROR)[:, None]})


def write_shapenet_nmr(root: Path) -> None:
    """Boxes as NMR's renderer draws them."""
    write_nmr(root, CHAIR, {"train": 6, "val": 1, "test": 1})


def write_shapenet_dvr(root: Path) -> None:
    """The boxes as a tree."""
    _write_tree(root, "softras_{}.lst", lambda folder, k: write_dvr_model(folder, TO_V1))


def write_shapenet_occnet(root: Path) -> None:
    """The boxes from cameras at random, pictures as JPEG without masks."""
    _write_tree(root, "{}.lst", lambda folder, k: write_occnet_model(folder, masks=k % 2 == 1))


def _write_tree(root: Path, lists: str, write: Callable[[Path, int], None]) -> None:
    for k, split in enumerate(("train", "val", "test")):
        write(root / CHAIR / f"model_{k}", k)
        (root / CHAIR / lists.format(split)).write_text(f"model_{k}\n")


def write_folder(root: Path) -> None:
    """The birds as one's own photographs: masks beside them, key points in JSON."""
    points = {}
    for k, photo in enumerate(photos()):
        Image.fromarray(photo.rgb).save(root / f"bird_{k:02d}.png")
        Image.fromarray(photo.mask).save(root / f"bird_{k:02d}_mask.png")
        points[f"bird_{k:02d}.png"] = np.column_stack([photo.xy, photo.visible]).tolist()
    (root / "keypoints.json").write_text(json.dumps({"names": _names(), "keypoints": points}))


def write_coco(root: Path) -> None:
    """The birds in COCO's JSON, masks as run lengths."""
    images, annotations = [], []
    (root / "val2017").mkdir()
    (root / "annotations").mkdir()
    for k, photo in enumerate(photos()):
        height, width = photo.mask.shape
        Image.fromarray(photo.rgb).save(root / f"val2017/{k:012d}.png")
        images.append({"id": k, "file_name": f"{k:012d}.png", "height": height, "width": width})
        flat = photo.mask.T.ravel()  # column by column
        changes = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *changes, flat.size]).tolist()
        left, top, right, bottom = photo.box.tolist()
        # COCO numbers pixels from 0; 2 is visible.
        keypoints = np.column_stack([photo.xy - 0.5, 2 * photo.visible]) * photo.visible[:, None]
        annotations.append(
            {
                "id": k,
                "image_id": k,
                "category_id": 16,
                "iscrowd": 0,
                "bbox": [left, top, right + 1 - left, bottom + 1 - top],
                "segmentation": {"size": [height, width], "counts": counts},
                "keypoints": keypoints.ravel().tolist(),
            }
        )
    categories = [{"id": 16, "name": "bird", "keypoints": _names()}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations/instances_val2017.json").write_text(json.dumps(content))


def write_joined(root: Path) -> None:
    """The boxes of two protocols, each prepared as a data set of its own."""
    for name in ("shapenet_dvr", "shapenet_occnet"):
        write, category = SHEETS[name]
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            options = ReadOptions(Path(folder), category, image_size=64)
            prepare_records(read_dataset(name, options), root / name.removeprefix("shapenet_"))


def _names() -> list[str]:
    return [name.replace(" ", "_") for name in PART_NAMES]


# name of the data set -> what writes a small archive in its format, and the category to ask for
SHEETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "cub": (write_cub, ""),
    "cub_cmr": (write_cub_cmr, ""),
    "pascal3d": (write_pascal3d, "car"),
    "shapenet_nmr": (write_shapenet_nmr, "chair"),
    "shapenet_dvr": (write_shapenet_dvr, "chair"),
    "shapenet_occnet": (write_shapenet_occnet, "chair"),
    "folder": (write_folder, "bird"),
    "joined": (write_joined, ""),
    "coco": (write_coco, "bird"),
}


def draw_sheet(name: str) -> Image.Image:
    """The sheet of a check, under a label that says that its pictures are generated; prints what the check says."""
    write, category = SHEETS[name]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        report = check_download(read_dataset(name, ReadOptions(Path(folder), category, checking=True)))
    print(name, *report.lines, sep="\n  ")
    sheet = Image.fromarray(report.sheet)
    labelled = Image.new("RGB", (max(sheet.width, 3 * 128), sheet.height + STRIP), "white")
    labelled.paste(sheet, (0, STRIP))
    ImageDraw.Draw(labelled).text((3, 2), f"generated stand-ins in the format of {name}", fill="black")
    return labelled.quantize(COLOURS)


def main(_: list[str]) -> None:
    """Draw all sheets."""
    for name in SHEETS:
        draw_sheet(name).save(Path(flags.FLAGS.output) / f"{name}.png", optimize=True)


if __name__ == "__main__":
    # Here, since tests import this file beside scripts with a flag of this name.
    flags.DEFINE_string("output", "docs/images/data", "Folder for the sheets.")
    app.run(main)
