"""Models by name, ready for photographs."""

from pathlib import Path

from ast_jax.pretrained.saliency import FindObject, SalientObject, usual_finder
from ast_jax.reconstruction.choice import Choice
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.training.checkpoint import load_model
from ast_jax.training.release import shipped_names

# All models that come with the package; the one that covers the object best answers.
ANY = "any"


def load(name: str | Path = "bird", *, mask_model: str | Path | None = None, texture_size: int = 1024) -> Reconstructor:
    """A trained model, ready for photographs.

    Args:
      name: of a model that comes with the package, such as ``bird``; ``any`` for all of them, of which the one that
        covers the object best answers; or the folder of a training run.
      mask_model: an ONNX file that finds objects; None: the one of ``pip install "ast-jax[photo]"``, if it is
        installed.
      texture_size: sides of the texture that is painted, px.

    Raises:
      ValueError: there is no such model.
    """
    finder = usual_finder() if mask_model is None else SalientObject(mask_model)  # first: it is there at once, or not
    if str(name) == ANY and not Path(name).exists():
        return Choice({one: _load(one, finder, texture_size) for one in shipped_names()}, find_object=finder)
    return _load(name, finder, texture_size)


def _load(name: str | Path, finder: FindObject | None, texture_size: int) -> Reconstructor:
    model, config = load_model(name)
    return Reconstructor(model, config.data, find_object=finder, texture_size=texture_size)
