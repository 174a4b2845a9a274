"""Make a data set: python -m launch.prepare_data --dataset=freeshapes --category=chair --root=data/chair.

Published data sets and photos: --dataset=cub --source=CUB_200_2011 --root=data/cub; with --check nothing is made, the
download is looked over: python -m launch.prepare_data --check --dataset=cub --source=CUB_200_2011. See docs/data.md.
"""

import sys

from absl import flags, logging

from ast_jax.datasets import DATASETS, jobs
from ast_jax.process import command_line
from ast_jax.shapes.freeshapes import Options
from ast_jax.shapes.prepare import PictureSettings

_DATASET = flags.DEFINE_enum(
    "dataset", None, [*jobs.RENDERED, *sorted(DATASETS)], "Meshes to render, or pictures of others."
)
_CATEGORY = flags.DEFINE_string("category", "", "Name or id, where the source has several; for meshes any name.")
_ROOT = flags.DEFINE_string("root", None, "Folder of the data set, made if need be.")
_SOURCE = flags.DEFINE_string(
    "source", None, "The download; a folder of meshes; for FreeShapes a .deb, .zip or folder."
)
_CHECK = flags.DEFINE_bool("check", False, "Look the download, or --root, over; make nothing.")
_OUTPUT = flags.DEFINE_string("output", ".", "Check: folder that gets check.png.")
_VARIANT = flags.DEFINE_string("variant", "", "Of the protocol, where a data set has several: cub_cmr has cmr and ast.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 0, "Pixels per side; 0: 64, or what the data set's protocol wants.")
_NUM_VIEWS = flags.DEFINE_integer("num_views", 24, "Rendered: views at equal steps of azimuth.")
_VIEW_LAYOUT = flags.DEFINE_enum(
    "view_layout", "ring", ["ring", "random"], "Rendered: random views to test with, by --seed."
)
_FOV_DEG = flags.DEFINE_float("fov_deg", 30.0, "Rendered: vertical field of view; 22 fits the bounding sphere tightly.")
_SUPERSAMPLE = flags.DEFINE_integer("supersample", 4, "Rendered: samples per pixel and axis.")
_SHADING = flags.DEFINE_float("shading", 0.3, "Rendered: 0 is the bare texture, 1 the strongest light and shade.")
_LIVERIES = flags.DEFINE_integer("liveries", 2, "Aircraft: paint schemes beside the default one.", lower_bound=0)
_COLOUR_GREY = flags.DEFINE_bool("colour_grey", None, "Random hues for grey materials; default: for furniture only.")
_ENCLOSED = flags.DEFINE_bool("enclosed", None, "Solids: glass is wall, open below is filled; default: for car only.")
_SPLIT = flags.DEFINE_list("split", ["0.7", "0.1", "0.2"], "Rendered: fractions of train, val, test.")
_ON_ERROR = flags.DEFINE_enum("on_error", "skip", ["skip", "raise"], "What to do with an object that cannot be read.")
_SEED = flags.DEFINE_integer("seed", 0, "Chooses liveries, hues, surface points and splits.")


def main(_: list[str]) -> None:
    """Flags in, data set out; bad input ends with one line and exit code 1."""
    logging.set_verbosity(logging.WARNING)  # mesh readers talk into the progress bar
    try:
        if _CHECK.value:
            sys.exit(_look_over())
        jobs.print_index(_render() if _DATASET.value in jobs.RENDERED else _convert(), _ROOT.value)
    except (ValueError, OSError) as error:
        sys.exit(f"prepare_data: {error}")


def _look_over() -> int:
    return jobs.look_over(
        _DATASET.value, _SOURCE.value, _ROOT.value, _OUTPUT.value,
        category=_CATEGORY.value, image_size=_IMAGE_SIZE.value, seed=_SEED.value, variant=_VARIANT.value,
    )  # fmt: skip


def _convert() -> dict:
    return jobs.convert(
        _DATASET.value, _SOURCE.value, _ROOT.value, on_error=_ON_ERROR.value,
        category=_CATEGORY.value, image_size=_IMAGE_SIZE.value, seed=_SEED.value, variant=_VARIANT.value,
    )  # fmt: skip


def _render() -> dict:
    pictures = PictureSettings(
        image_size=_IMAGE_SIZE.value or 64, num_views=_NUM_VIEWS.value, view_layout=_VIEW_LAYOUT.value,
        fov_deg=_FOV_DEG.value, supersample=_SUPERSAMPLE.value, shading=_SHADING.value, enclosed=_ENCLOSED.value,
        seed=_SEED.value,
    )  # fmt: skip
    return jobs.render(
        _DATASET.value, _SOURCE.value, _ROOT.value, pictures, on_error=_ON_ERROR.value, category=_CATEGORY.value,
        split=_SPLIT.value, freeshapes=Options(_LIVERIES.value, _COLOUR_GREY.value, _SEED.value),
    )  # fmt: skip


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["dataset"])
    flags.register_multi_flags_validator(["root", "check"], lambda f: any(f.values()), "--root is not given.")
    command_line.run(main)


if __name__ == "__main__":
    run()
