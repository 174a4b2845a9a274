"""Models by name, as functions of photographs."""

from pathlib import Path

from ast_jax.pretrained.saliency import FindObject, SalientObject, usual_finder
from ast_jax.reconstruction.mesh_settings import MeshSettings
from ast_jax.reconstruction.pick import AnyReconstructor, BirdOrThing
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.training.checkpoint import load_model

ANY = "any"


def load(name: str | Path = "bird", *, mask_model: str | Path | None = None, **settings) -> Reconstructor:
    """A trained model, ready for photographs.

    Args:
      name: of a model that comes with the package, ``bird`` or ``thing``; ``any``: of these the one that knows what a
        photograph shows, which the notices of each result name (`BirdOrThing`); or the folder of a training run.
      mask_model: an ONNX file that finds objects; None: the one of ``pip install "ast-jax[photo]"``, if it is
        installed.
      settings: of the meshes that are written: ``texture_size``, ``faces``, ``up``, ``scale``, see
        `ast_jax.reconstruction.MeshSettings`.

    Raises:
      ValueError: there is no such model, a network is not installed, or a setting is out of range.
    """
    written = MeshSettings(**settings)
    finder = usual_finder() if mask_model is None else SalientObject(mask_model)  # first: it is there at once, or not
    if name == ANY and not Path(name).exists():
        return AnyReconstructor(BirdOrThing(), lambda one: _load(one, finder, written), find_object=finder)
    return _load(name, finder, written)


def _load(name: str | Path, finder: FindObject | None, settings: MeshSettings) -> Reconstructor:
    model, config = load_model(name)
    return Reconstructor(model, config.data, find_object=finder, settings=settings)
