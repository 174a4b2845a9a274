"""Make a data set: python -m launch.prepare_data --dataset=freeshapes --category=chair --root=data/chair.

Published data sets and photos: --dataset=cub --source=CUB_200_2011 --root=data/cub; with --check nothing is made, the
download is looked over: python -m launch.prepare_data --check --dataset=cub --source=CUB_200_2011. See docs/data.md.
"""

import sys
from pathlib import Path

from absl import app, flags, logging

from ast_jax.data.check import check_download, save_report
from ast_jax.data.contact_sheet import FILE_NAME
from ast_jax.data.datasets import DATASETS, ReadOptions, read_dataset
from ast_jax.data.freeshapes import Options, list_objects
from ast_jax.data.meshes import scan_folder
from ast_jax.data.prepare import prepare_objects
from ast_jax.data.records import prepare_records

FLAGS = flags.FLAGS
RENDERED = ("freeshapes", "meshes")
flags.DEFINE_enum("dataset", None, [*RENDERED, *sorted(DATASETS)], "Meshes to render, or pictures of others.")
flags.DEFINE_string("category", "", "Name or id, where the source has several; for meshes any name.")
flags.DEFINE_string("root", None, "Folder of the data set, made if need be.")
flags.DEFINE_string("source", None, "The download; a folder of meshes; for FreeShapes a .deb, .zip or folder.")
flags.DEFINE_bool("check", False, "Look the download over, write check.png, make nothing.")
flags.DEFINE_string("output", ".", "Check: folder that gets check.png.")
flags.DEFINE_string("variant", "", "Of the protocol, where a data set has several: cub_cmr has cmr and ast.")
flags.DEFINE_integer("image_size", 0, "Pixels per side; 0: 64, or what the data set's protocol wants.")
flags.DEFINE_integer("num_views", 24, "Rendered: views at equal steps of azimuth.")
flags.DEFINE_enum("view_layout", "ring", ["ring", "random"], "Rendered: random views to test with, by --seed.")
flags.DEFINE_float("fov_deg", 30.0, "Rendered: vertical field of view; 22 fits the bounding sphere tightly.")
flags.DEFINE_integer("supersample", 4, "Rendered: samples per pixel and axis.")
flags.DEFINE_float("shading", 0.3, "Rendered: 0 is the bare texture, 1 the strongest light and shade.")
flags.DEFINE_integer("liveries", 2, "Aircraft: paint schemes beside the default one.")
flags.DEFINE_bool("colour_grey", None, "Random hues for grey materials; default: for furniture only.")
flags.DEFINE_bool("enclosed", None, "Solids: glass is wall, open below is filled; default: for car only.")
flags.DEFINE_list("split", ["0.7", "0.1", "0.2"], "Rendered: fractions of train, val, test.")
flags.DEFINE_enum("on_error", "skip", ["skip", "raise"], "What to do with an object that cannot be read.")
flags.DEFINE_integer("seed", 0, "Chooses liveries, hues, surface points and splits.")
PASSED_ON = ("num_views", "view_layout", "fov_deg", "supersample", "shading", "enclosed", "on_error", "seed")


def main(_: list[str]) -> None:
    """Flags in, data set out; bad input ends with one line and exit code 1."""
    logging.set_verbosity(logging.WARNING)  # mesh readers talk into the progress bar
    try:
        sys.exit(_check()) if FLAGS.check else _report(_render() if FLAGS.dataset in RENDERED else _convert())
    except ValueError as error:
        sys.exit(f"prepare_data: {error}")


def _collection():
    source = Path(FLAGS.source or (FLAGS.root if FLAGS.check else "--source is not given")).expanduser()
    options = ReadOptions(source, FLAGS.category, FLAGS.image_size, FLAGS.variant, FLAGS.seed)
    return read_dataset(FLAGS.dataset, options)


def _check() -> int:
    report = check_download(_collection())
    sheet = save_report(report, FLAGS.output)
    print(*report.lines, *(f"PROBLEM {problem}" for problem in report.problems[:50]), sep="\n")
    print(f"{len(report.problems)} problems; look at {sheet}" if sheet else f"{len(report.problems)} problems")
    return 1 if report.problems else 0


def _convert() -> dict:
    return prepare_records(_collection(), FLAGS.root, on_error=FLAGS.on_error, progress=True)


def _render() -> dict:
    settings = {name: FLAGS[name].value for name in PASSED_ON}
    category, size = FLAGS.category or "mesh", FLAGS.image_size or 64
    if FLAGS.dataset == "meshes":
        objects = scan_folder(FLAGS.source or "--source is not given")
    else:
        objects = list_objects(category, FLAGS.source, options=Options(FLAGS.liveries, FLAGS.colour_grey, FLAGS.seed))
    split = tuple(map(float, FLAGS.split))
    return prepare_objects(
        objects, FLAGS.root, category=category, image_size=size, split_fractions=split, progress=True, **settings
    )


def _report(index: dict) -> None:
    sizes = {name: len(ids) for name, ids in index["splits"].items()}
    parts = ", ".join(f"{name} {size}" for name, size in sizes.items())
    print(f"{sum(sizes.values())} objects in {FLAGS.root}: {parts}")
    print("\n  ".join([f"{len(index['skipped'])} skipped", *index["skipped"]]))
    print(f"look at {Path(FLAGS.root) / FILE_NAME}")


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["dataset"])
    flags.register_multi_flags_validator(
        ["root", "check"], lambda f: f["root"] or f["check"], "--root: where to put the data set is not given."
    )
    app.run(main)


if __name__ == "__main__":
    run()
