"""Single-view 3D reconstruction from 2D annotations alone."""


def load(name="bird", **options):
    """A trained model, ready for photographs; arguments as in `ast_jax.reconstruction.load`.

    Example:
      >>> model = ast_jax.load("bird")
      >>> result = model.reconstruct("photo.jpg")
      >>> result.save("bird.glb")
    """
    from ast_jax.reconstruction import load as load_reconstructor  # here, as it brings jax: ``import ast_jax`` is light

    return load_reconstructor(name, **options)
