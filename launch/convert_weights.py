"""Make an .npz of published weights: python -m launch.convert_weights --network=inception --source=FILE.pth --out=F.npz

--network=inception: FID's pt_inception-2015-12-05-6726825d.pth of pytorch-fid, for launch.evaluate --features_path.
--network=alexnet or vgg16: torchvision's weights and, as --heads, those of LPIPS v0.1, for --lpips_path (alexnet).
Files are read as data; torch is not needed and none of their code runs.
"""

from absl import flags

from ast_jax.process import runtime

_NETWORK = flags.DEFINE_enum("network", None, ["inception", "alexnet", "vgg16"], "Which network the file holds.")
_SOURCE = flags.DEFINE_string("source", None, "The published file, as it was downloaded.")
_HEADS = flags.DEFINE_string("heads", "", "For alexnet and vgg16: alex.pth or vgg.pth of the package lpips.")
_OUT = flags.DEFINE_string("out", None, "The .npz to write.")


def main(argv: list[str]) -> None:
    """Flags in, one file out."""
    del argv
    from ast_jax.files.writing import check_can_be_written

    if not _OUT.value.endswith(".npz"):
        raise ValueError(f"--out={_OUT.value}: the name must end with .npz.")
    check_can_be_written(_OUT.value)
    if _NETWORK.value == "inception":
        from ast_jax.pretrained.inception_weights import convert_inception

        convert_inception(_SOURCE.value, _OUT.value)
    elif not _HEADS.value:
        raise ValueError("--heads: give alex.pth or vgg.pth of the package lpips (its folder weights/v0.1).")
    else:
        from ast_jax.pretrained.perceptual_weights import convert_perceptual

        convert_perceptual(_NETWORK.value, _SOURCE.value, _HEADS.value, _OUT.value)
    print(f"wrote {_OUT.value}")


def run() -> None:
    """Console entry point."""
    flags.mark_flags_as_required(["network", "source", "out"])
    runtime.run_main(main)


if __name__ == "__main__":
    run()
