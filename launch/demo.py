"""Reconstruct photographs on a page: one of this machine's own, or a file that runs in any browser without a server.

    pip install "ast-jax[demo,photo]"
    python -m launch.demo

opens a page that does what ``launch.reconstruct`` does. The mask can be corrected with a brush.

    npm pack onnxruntime-web
    python -m launch.demo --build=page --runtime=onnxruntime-web-1.30.0.tgz

``page/index.html`` carries the model, the mask network of ``pip install "ast-jax[photo]"`` and all programs. It works
from any static host, and from the folder itself.
"""

from absl import flags

from ast_jax.process import runtime

_BUILD = flags.DEFINE_string(
    "build", None, "Folder that gets index.html, for any browser; unset: open a page of this machine's own."
)
_RUNTIME = flags.DEFINE_string(
    "runtime", None, "For --build, onnxruntime-web: the .tgz of `npm pack onnxruntime-web`, or its folder."
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "bird", "The model: one that comes with us, or the folder of a training run (its --workdir)."
)
_MASK_MODEL = flags.DEFINE_string(
    "mask_model", None, "ONNX file of the U^2-Net family that finds objects; unset: that of ast-jax[photo]."
)


_PORT = flags.DEFINE_integer("port", None, "Of the page of this machine; unset: the first free one from 7860.")


def main(argv: list[str]) -> None:
    """Flags in, page out."""
    del argv
    if (_BUILD.value is None) != (_RUNTIME.value is None):
        raise ValueError("--build and --runtime belong together: the page of a file carries the runtime.")
    runtime.setup(num_processes=1)
    from ast_jax.demo import build_page, serve  # after the devices are set up

    if _BUILD.value is None:
        return serve(_CHECKPOINT.value, mask_model=_MASK_MODEL.value, port=_PORT.value)
    page = build_page(_BUILD.value, checkpoint=_CHECKPOINT.value, runtime=_RUNTIME.value, mask_model=_MASK_MODEL.value)
    print(f"wrote {page}: {page.stat().st_size:,} bytes; open {page.resolve().as_uri()}")


def run() -> None:
    """Console entry point."""
    runtime.run_main(main)


if __name__ == "__main__":
    run()
