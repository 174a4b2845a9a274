"""Make a data set: python -m launch.prepare_data --dataset=freeshapes --category=chair --root=data/chair."""

import sys
from pathlib import Path

from absl import app, flags, logging

from ast_jax.data.contact_sheet import FILE_NAME
from ast_jax.data.freeshapes import Options, list_objects
from ast_jax.data.meshes import scan_folder
from ast_jax.data.prepare import prepare_objects

FLAGS = flags.FLAGS
flags.DEFINE_enum("dataset", None, ["freeshapes", "meshes"], "Debian packages, or a folder of mesh files.")
flags.DEFINE_string("category", "mesh", "FreeShapes: aircraft, car, chair, sofa, table. Meshes: any name.")
flags.DEFINE_string("root", None, "Folder of the data set, made if need be.")
flags.DEFINE_string("source", None, "Folder of meshes; for FreeShapes a .deb, .zip or folder, not apt-get.")
flags.DEFINE_integer("image_size", 64, "Pixels per side.")
flags.DEFINE_integer("num_views", 24, "Views at equal steps of azimuth.")
flags.DEFINE_float("fov_deg", 30.0, "Vertical field of view; 22 fits an object's bounding sphere tightly.")
flags.DEFINE_integer("supersample", 4, "Samples per pixel and axis.")
flags.DEFINE_float("shading", 0.3, "0: bare texture, 1: strongest light and shade.")
flags.DEFINE_integer("liveries", 2, "Aircraft: paint schemes beside the default one.")
flags.DEFINE_bool("colour_grey", None, "Random hues for grey materials; default: for furniture only.")
flags.DEFINE_bool("enclosed", None, "Solids: glass is wall, open below is filled; default: for car only.")
flags.DEFINE_list("split", ["0.7", "0.1", "0.2"], "Fractions of train, val, test.")
flags.DEFINE_enum("on_error", "skip", ["skip", "raise"], "What to do with a mesh that cannot be read.")
flags.DEFINE_integer("seed", 0, "Chooses liveries, hues, surface points and splits.")
PASSED_ON = ("category", "image_size", "num_views", "shading", "enclosed", "on_error", "seed")


def main(_: list[str]) -> None:
    """Flags in, data set out; bad input ends with one line and exit code 1."""
    logging.set_verbosity(logging.WARNING)  # mesh readers talk into the progress bar
    try:
        objects = _list_objects()
        settings = {k: FLAGS[k].value for k in PASSED_ON}
        split = tuple(map(float, FLAGS.split))
        index = prepare_objects(objects, FLAGS.root, split_fractions=split, progress=True, **settings)
    except ValueError as error:
        sys.exit(f"prepare_data: {error}")
    sizes = {name: len(ids) for name, ids in index["splits"].items()}
    parts = ", ".join(f"{name} {size}" for name, size in sizes.items())
    print(f"{sum(sizes.values())} objects in {FLAGS.root}: {parts}")
    print("\n  ".join([f"{len(index['skipped'])} skipped", *index["skipped"]]))
    print(f"look at {Path(FLAGS.root) / FILE_NAME}")


def _list_objects():
    if FLAGS.dataset == "meshes":
        return scan_folder(FLAGS.source or "--source is not given")
    options = Options(FLAGS.liveries, FLAGS.colour_grey, FLAGS.seed)
    return list_objects(FLAGS.category, FLAGS.source, options=options)


def run() -> None:
    flags.mark_flags_as_required(["dataset", "root"])
    app.run(main)


if __name__ == "__main__":
    run()
