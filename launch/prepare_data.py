"""Make a data set: python -m launch.prepare_data --dataset=freeshapes --category=chair --root=data/chair.

Published data sets and photos: --dataset=cub --source=CUB_200_2011 --root=data/cub; with --check nothing is made, the
download is looked over: python -m launch.prepare_data --check --dataset=cub --source=CUB_200_2011. See docs/data.md.
"""

import sys

from absl import flags, logging

from ast_jax import command_line
from ast_jax.data import jobs
from ast_jax.data.datasets import DATASETS

FLAGS = flags.FLAGS
flags.DEFINE_enum("dataset", None, [*jobs.RENDERED, *sorted(DATASETS)], "Meshes to render, or pictures of others.")
flags.DEFINE_string("category", "", "Name or id, where the source has several; for meshes any name.")
flags.DEFINE_string("root", None, "Folder of the data set, made if need be.")
flags.DEFINE_string("source", None, "The download; a folder of meshes; for FreeShapes a .deb, .zip or folder.")
flags.DEFINE_bool("check", False, "Look the download, or --root, over; make nothing.")
flags.DEFINE_string("output", ".", "Check: folder that gets check.png.")
flags.DEFINE_string("variant", "", "Of the protocol, where a data set has several: cub_cmr has cmr and ast.")
flags.DEFINE_integer("image_size", 0, "Pixels per side; 0: 64, or what the data set's protocol wants.")
flags.DEFINE_integer("num_views", 24, "Rendered: views at equal steps of azimuth.")
flags.DEFINE_enum("view_layout", "ring", ["ring", "random"], "Rendered: random views to test with, by --seed.")
flags.DEFINE_float("fov_deg", 30.0, "Rendered: vertical field of view; 22 fits the bounding sphere tightly.")
flags.DEFINE_integer("supersample", 4, "Rendered: samples per pixel and axis.")
flags.DEFINE_float("shading", 0.3, "Rendered: 0 is the bare texture, 1 the strongest light and shade.")
flags.DEFINE_integer("liveries", 2, "Aircraft: paint schemes beside the default one.", lower_bound=0)
flags.DEFINE_bool("colour_grey", None, "Random hues for grey materials; default: for furniture only.")
flags.DEFINE_bool("enclosed", None, "Solids: glass is wall, open below is filled; default: for car only.")
flags.DEFINE_list("split", ["0.7", "0.1", "0.2"], "Rendered: fractions of train, val, test.")
flags.DEFINE_enum("on_error", "skip", ["skip", "raise"], "What to do with an object that cannot be read.")
flags.DEFINE_integer("seed", 0, "Chooses liveries, hues, surface points and splits.")
COMMON, READER = "dataset source root category image_size seed", "variant"
RENDERER = "num_views view_layout fov_deg supersample shading liveries colour_grey enclosed split"


def main(_: list[str]) -> None:
    """Flags in, data set out; bad input ends with one line and exit code 1."""
    logging.set_verbosity(logging.WARNING)  # mesh readers talk into the progress bar
    values = lambda names: {name: FLAGS[name].value for name in names.split()}  # noqa: E731
    try:
        if FLAGS.check:
            sys.exit(jobs.look_over(**values(f"{COMMON} output {READER}")))
        make, names = (jobs.render, RENDERER) if FLAGS.dataset in jobs.RENDERED else (jobs.convert, READER)
        jobs.print_index(make(**values(f"{COMMON} on_error {names}")), FLAGS.root)
    except (ValueError, OSError) as error:
        sys.exit(f"prepare_data: {error}")


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["dataset"])
    flags.register_multi_flags_validator(["root", "check"], lambda f: any(f.values()), "--root is not given.")
    command_line.run(main)


if __name__ == "__main__":
    run()
