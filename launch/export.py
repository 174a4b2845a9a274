"""Export a model as one file that runs without this project.

    python -m launch.export --checkpoint=bird --format=onnx --output=bird.onnx

``onnx`` runs in onnxruntime and in browsers (``pip install "ast-jax[export]"`` writes it), ``stablehlo`` in jax:
``jax.export.deserialize(content).call(image)``. One picture ``[1, size, size, 4]`` goes in, as the model was trained
with: RGB in [0, 1] over the background, and the coverage of the object.
"""

from pathlib import Path

from absl import flags

from ast_jax.process import runtime

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "bird", "The model: one that comes with us, or the folder of a training run (its --workdir)."
)
_FORMAT = flags.DEFINE_string("format", "onnx", "onnx or stablehlo.")
_OUTPUT = flags.DEFINE_string("output", None, "The file to write; one that is there is replaced.")
_TAKES_CAMERA = flags.DEFINE_bool("takes_camera", False, "Inputs for the picture's camera, where it may be known.")


def main(argv: list[str]) -> None:
    """Flags in, one file out."""
    del argv
    runtime.setup(num_processes=1)
    from ast_jax.export.program import PROGRAM_FORMATS, encode_program, make_program  # after the devices are set up
    from ast_jax.files.writing import check_can_be_written, remove_leftovers, write_bytes
    from ast_jax.near_match import choose
    from ast_jax.training.checkpoint import load_model

    choose("--format", _FORMAT.value, tuple(PROGRAM_FORMATS))
    check_can_be_written(_OUTPUT.value)
    remove_leftovers(Path(_OUTPUT.value).parent, below=False)
    model, config = load_model(_CHECKPOINT.value)
    size, channels = config.data.image_size, 4 if config.data.input_masked else 3
    program = make_program(model, (size, size, channels), takes_camera=_TAKES_CAMERA.value)
    about = {"checkpoint": str(_CHECKPOINT.value), "data": config.data.to_dict()}
    content = encode_program(program, _FORMAT.value, about)
    write_bytes(_OUTPUT.value, content)
    print(f"wrote {_OUTPUT.value}: {len(content):,} bytes, {list(program.inputs)} -> {program.outputs}")


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["output"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
