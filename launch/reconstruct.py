"""Reconstruct the objects in one or more photographs.

    python -m launch.reconstruct --image=photo.jpg
    python -m launch.reconstruct --checkpoint=any --image=car.jpg
    python -m launch.reconstruct --checkpoint=runs/quickstart --image=bird.png --output=out/bird

Writes textured GLB meshes, overlay PNGs and ``index.html``. The alpha channel tells the object, or ``--mask``, or a
plain background, or the network of ``pip install "ast-jax[photo]"``. ``--refine_steps=100`` fits the mesh to the
picture. For several pictures, give ``--image`` again, or a folder. No file of yours is replaced: a name that is taken
gets a number.
"""

import sys

from absl import flags

from ast_jax.process import runtime

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "bird",
    "The model: bird or thing, which come with us; any, the one of them that knows what the photograph shows "
    "(ast-jax[pretrained]); or the folder of a training run (--workdir).",
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
_MASK_MODEL = flags.DEFINE_string(
    "mask_model", None, "ONNX file of the U^2-Net family that finds objects; unset: that of ast-jax[photo]."
)
_OUTPUT = flags.DEFINE_string("output", "out", "Folder for the results.")
_REFINE_STEPS = flags.DEFINE_integer("refine_steps", 0, "Steps of fitting to the picture.", lower_bound=0)
_FORMAT = flags.DEFINE_list("format", [], "Formats to write beside the GLB: obj, ply, stl, usdz.")
_TEXTURE_SIZE = flags.DEFINE_integer(
    "texture_size", 1024, "Sides of the texture, pixels.", lower_bound=16, upper_bound=16384
)
_FACES = flags.DEFINE_integer(
    "faces", None, "About how many faces meshes have: 80, 320, 1280, 5120 or 20480; unset: the model's.", lower_bound=1
)
_UP = flags.DEFINE_enum("up", "y", ["y", "z"], "The axis that points up in all files but GLB, which knows +Y alone.")
_SCALE = flags.DEFINE_float("scale", 1.0, "Factor of all lengths.")
_TURNTABLE = flags.DEFINE_bool("turntable", False, "Write a GIF of the turning mesh, too.")


def main(argv: list[str]) -> None:
    """Flags in, files out."""
    del argv
    runtime.setup(num_processes=1)
    from ast_jax.reconstruction import check_files, load, reconstruct_files  # after the devices are set up

    check_files(_IMAGE.value, _OUTPUT.value, masks=_MASK.value, formats=_FORMAT.value)
    settings = dict(texture_size=_TEXTURE_SIZE.value, faces=_FACES.value, up=_UP.value, scale=_SCALE.value)
    model = load(_CHECKPOINT.value, mask_model=_MASK_MODEL.value, **settings)
    options = dict(refine_steps=_REFINE_STEPS.value, formats=_FORMAT.value, turntable=_TURNTABLE.value)
    problems = reconstruct_files(model, _IMAGE.value, _OUTPUT.value, masks=_MASK.value, **options)
    if problems:
        sys.exit("\n".join(f"error: {line}" for line in problems))


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["image"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
