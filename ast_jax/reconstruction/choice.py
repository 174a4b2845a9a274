"""Several models asked for one photograph: the one whose mesh covers the object best answers."""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from numpy import ndarray

from ast_jax.data.images import Source
from ast_jax.data.photo import Photo
from ast_jax.pretrained.saliency import FindObject
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.reconstruction.result import Reconstruction


class Choice(Reconstructor):
    """As a `Reconstructor`; ``result.model`` names the model that was chosen.

    Every model predicts, and sees its own mesh: which of them knows such objects is told by the overlap with the mask.
    It tells no more than that; a silhouette that several models can explain may be given to the wrong one.

    Args:
      models: by name; of two that cover the object equally well the first one answers.
      find_object: as for a `Reconstructor`.
    """

    def __init__(self, models: dict[str, Reconstructor], *, find_object: FindObject | None = None):
        self._models, self._find_object = models, find_object

    def reconstruct_object(
        self, photo: Photo, mask: Float[ndarray, "h w"], *, name: str = "object", refine_steps: int = 0
    ) -> Reconstruction:
        """As of a `Reconstructor`; only the model that was chosen is refined."""
        results = [model.reconstruct_object(photo, mask, name=name) for model in self._models.values()]
        chosen = self._choose(results)
        if not refine_steps:
            return chosen
        refined = self._models[chosen.model].reconstruct_object(photo, mask, name=name, refine_steps=refine_steps)
        return replace(refined, model=chosen.model, notices=chosen.notices)

    def reconstruct_batch(self, photos: Sequence[Source]) -> list[Reconstruction]:
        """As of a `Reconstructor`; each model sees all photographs in one compiled call."""
        every = [model.reconstruct_batch(photos) for model in self._models.values()]
        return [self._choose(results) for results in zip(*every)]

    def _choose(self, results: Sequence[Reconstruction]) -> Reconstruction:
        name, best = max(zip(self._models, results), key=lambda pair: pair[1].mask_iou)
        notice = f"of the models {', '.join(self._models)}, {name} covers the object best"
        return replace(best, model=name, notices=(*best.notices, notice))
