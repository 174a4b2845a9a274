"""The model that knows what a photograph shows: `ast_jax.load("any")`.

Models here learn from renderings, and what tells their birds from their cars does not tell photographed ones apart. So
a network that has seen photographs is asked: EfficientNet-Lite0 with its classifier of ImageNet.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.data.crop import crop_to_mask
from ast_jax.data.images import Source
from ast_jax.data.masks import objects_of
from ast_jax.data.photo import Photo, load_photo
from ast_jax.model.backbones.efficientnet import EfficientNetLite0, find_efficientnet_lite0, load_efficientnet_lite0
from ast_jax.pretrained.saliency import FindObject
from ast_jax.reconstruction.reconstruct import Reconstructor
from ast_jax.reconstruction.result import Reconstruction

INSTALL = 'load("any") needs a network that has seen photographs: pip install "ast-jax[pretrained]"'
# Classes of ILSVRC 2012 in the order of their WordNet numbers: cock to great grey owl, black grouse to black swan,
# white stork to albatross.
BIRDS = np.r_[7:25, 80:101, 127:147]
_SIZE, _PADDING, _GREY = 224, 0.1, (0.5, 0.5, 0.5)


class BirdOrThing:
    """Says which of the models that come with the package knows an object: ``bird``, or ``thing`` for all else.

    Raises:
      ValueError: the network is not installed.
    """

    def __init__(self):
        try:
            path = find_efficientnet_lite0()
        except ValueError as error:
            raise ValueError(f"{INSTALL}.") from error
        network = EfficientNetLite0(rngs=nnx.Rngs(0))
        kernel, bias = load_efficientnet_lite0(network, path)
        definition, self._weights = nnx.split(network)

        @jax.jit
        def classes(weights, image):
            return jax.nn.softmax(nnx.merge(definition, weights)(image)[-1].mean((1, 2)) @ kernel + bias[None])[0]

        self._classes = classes

    def __call__(self, rgb: Float[np.ndarray, "h w 3"], mask: Float[np.ndarray, "h w"]) -> tuple[str, float]:
        """The name of the model, and how probable it is.

        Args:
          rgb: the photograph in [0, 1].
          mask: of the object; what lies outside of it is not looked at.
        """
        crop, _ = crop_to_mask(rgb, mask, _SIZE, padding=_PADDING, background=_GREY)
        bird = float(np.asarray(self._classes(self._weights, jnp.asarray(crop)[None]))[BIRDS].sum())
        return ("bird", bird) if bird > 0.5 else ("thing", 1 - bird)


class AnyReconstructor(Reconstructor):
    """Reconstructs each object with the model that knows it; the notices of the result name it.

    Args:
      pick: ``(rgb, mask) -> (name, probability)``, see `BirdOrThing`.
      load: a name as a reconstructor; called once for each.
      find_object: see `Reconstructor`.
    """

    def __init__(
        self,
        pick: Callable[[np.ndarray, np.ndarray], tuple[str, float]],
        load: Callable[[str], Reconstructor],
        *,
        find_object: FindObject | None = None,
    ):
        self._pick, self._load, self._loaded, self._find_object = pick, load, {}, find_object

    def reconstruct_batch(self, photos: Sequence[Source]) -> list[Reconstruction]:
        """As `Reconstructor.reconstruct_batch`, one after the other: their models may differ."""
        seen = [load_photo(photo, find_object=self._find_object) for photo in photos]
        return [self.reconstruct_object(photo, objects_of(photo.mask)[0]) for photo in seen]

    def reconstruct_object(
        self, photo: Photo, mask: Float[np.ndarray, "h w"], *, name: str = "object", refine_steps: int = 0
    ) -> Reconstruction:
        """As `Reconstructor.reconstruct_object`."""
        model, probability = self._pick(photo.rgb, mask)
        if model not in self._loaded:
            self._loaded[model] = self._load(model)
        result = self._loaded[model].reconstruct_object(photo, mask, name=name, refine_steps=refine_steps)
        shown = "a bird" if model == "bird" else "no bird"
        told = f"made by the model {model!r}, because it shows {shown} with a probability of {probability:.2f}"
        return replace(result, notices=(*result.notices, told))
