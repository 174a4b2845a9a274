"""Write a page that reconstructs photographs in the browser, without a server.

    npm pack onnxruntime-web
    python -m launch.demo --build=page --runtime=onnxruntime-web-1.30.0.tgz

``page/index.html`` carries the model, the mask network of ``pip install "ast-jax[photo]"`` and all programs. It works
from any static host, and from the folder itself.
"""

from absl import flags

from ast_jax.process import runtime

_BUILD = flags.DEFINE_string("build", None, "Folder that gets index.html.")
_RUNTIME = flags.DEFINE_string(
    "runtime", None, "onnxruntime-web: the .tgz of `npm pack onnxruntime-web`, or its folder."
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "bird", "The model: one that comes with us, or the folder of a training run (its --workdir)."
)
_MASK_MODEL = flags.DEFINE_string(
    "mask_model", None, "ONNX file of the U^2-Net family that finds objects; unset: that of ast-jax[photo]."
)


def main(argv: list[str]) -> None:
    """Flags in, page out."""
    del argv
    runtime.setup(num_processes=1)
    from ast_jax.demo import build_page  # after the devices are set up

    page = build_page(_BUILD.value, checkpoint=_CHECKPOINT.value, runtime=_RUNTIME.value, mask_model=_MASK_MODEL.value)
    print(f"wrote {page}: {page.stat().st_size:,} bytes; open {page.resolve().as_uri()}")


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["build", "runtime"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
