"""Reconstruct the object in one or more photographs.

    python -m launch.reconstruct --checkpoint=bird --image=bird.png --output=out/bird
    python -m launch.reconstruct --checkpoint=runs/quickstart --image=bird.png --output=out/bird

Writes a textured GLB mesh, an overlay PNG, a turntable GIF and ``index.html``. The alpha channel tells the
object, or ``--mask``, or a plain background. ``--refine_steps=100`` fits the mesh to the picture. For several
pictures, give ``--image`` again, or a folder. No file of yours is replaced: a name that is taken gets a number.
"""

import sys

from absl import flags

from ast_jax.training import runtime

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Folder of the training run (its --workdir), or bird: the model that comes with us."
)
_IMAGE = flags.DEFINE_multi_string(
    "image",
    None,
    "A photograph, or a folder of them and their masks; may be repeated. What exists is taken as it is, "
    "anything else is a list separated by commas.",
)
_MASK = flags.DEFINE_multi_string(
    "mask", [], "Masks in the same order, white on black, given as --image is; none: found in the pictures."
)
_OUTPUT = flags.DEFINE_string("output", "out", "Folder for the results.")
_REFINE_STEPS = flags.DEFINE_integer("refine_steps", 0, "Steps of fitting to the picture.", lower_bound=0)


def main(argv: list[str]) -> None:
    """Flags in, files out."""
    del argv
    runtime.setup(num_processes=1)
    from ast_jax.reconstruct import reconstruct_files  # after the devices are set up
    from ast_jax.training.checkpoint import load_model

    model, config = load_model(_CHECKPOINT.value)
    problems = reconstruct_files(
        model, config.data, _IMAGE.value, _OUTPUT.value, masks=_MASK.value, refine_steps=_REFINE_STEPS.value
    )
    if problems:
        sys.exit("\n".join(f"error: {line}" for line in problems))


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["checkpoint", "image"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
