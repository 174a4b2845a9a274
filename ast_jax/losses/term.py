"""What a term of the loss is: a function with a name, and what it needs.

A file of this folder that has ``TERMS = (Term("mine", lambda seen: ...),)`` is found by itself; a config that sets
``config.stage.<name>.losses.mine`` uses it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from ast_jax.batch import Batch
from ast_jax.losses.views import ViewSettings, render_views
from ast_jax.prediction import Prediction
from ast_jax.pretrained.perceptual_network import PerceptualNetwork
from render import Camera
from render.coverage import Falloff


class Neighbours(NamedTuple):
    """Pictures that were seen before, and what they should look like with a part of the objects of a batch.

    Args:
      prediction: for ``b * s`` pictures, s of each object of the batch one after the other.
      batch: those pictures, one supervising view each, whose cameras are the found ones.
      exists: which of them were found.
    """

    prediction: Prediction
    batch: Batch
    exists: Bool[Array, "b s"]


@dataclass(frozen=True)
class LossInputs:
    """Everything a term may need beside the prediction and the batch.

    Args:
      sigma: softness of the silhouette, squared NDC.
      gamma: sharpness of the depth softmax.
      blending: how colour is blended, see ``render.render``.
      background: RGB behind the object, the same as in the supervising views.
      falloff: of soft borders, see ``render.soft_coverage``.
      whole_picture: whether colours are compared everywhere, or where rendering and mask overlap.
      colour_moves_shape: whether colour terms have a gradient in the vertices and the cameras.
      perceptual: network of the perceptual loss, or None.
      mesh: device mesh, or None for one device.
      render_axes: the axes of ``mesh`` over which pictures are rendered; their size divides the batch.
      phase: ``"pose"`` trains only the cameras of a model that proposes several, ``"shape"`` all the rest.
      template_vertices: ``[v, 3]``, for the deformation term, or None.
      peakiness: how much more the better cameras of a multiplex count, see `multiplex_loss`.
      neighbours: of the objects of the batch, or None, with which the term on them is left out.
    """

    sigma: float | Float[Array, ""]
    gamma: float | Float[Array, ""] = 1e-4
    blending: str = "softmax"
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    falloff: Falloff = "sigmoid"
    whole_picture: bool = False
    colour_moves_shape: bool = True
    perceptual: PerceptualNetwork | None = None
    mesh: jax.sharding.Mesh | None = None
    render_axes: tuple[str, ...] = ()
    phase: str = "shape"
    template_vertices: Float[np.ndarray, "v 3"] | None = None
    peakiness: float | Float[Array, ""] = 20.0
    neighbours: Neighbours | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """A prediction beside what it is compared with; pictures are rendered when the first term asks for them.

    Args:
      prediction: what the model gave.
      batch: with as many supervising views as cameras.
      camera: of the views, leading axes ``[b, s]``; ``n = b * s`` below.
      inputs: all the rest.
      with_colour: whether some term looks at colours, so that all pictures are rendered in one pass.
      weighted: the terms that are live, with their weights, for a term that compares other pictures by them.
    """

    prediction: Prediction
    batch: Batch
    camera: Camera
    inputs: LossInputs
    with_colour: bool
    weighted: tuple[tuple["Term", float | Float[Array, ""]], ...] = ()

    @property
    def settings(self) -> ViewSettings:
        """How views are rendered."""
        inputs = self.inputs
        look = (inputs.sigma, inputs.gamma, inputs.blending, inputs.background, inputs.falloff)
        return ViewSettings(self.batch.target_masks.shape[2:], *look, inputs.mesh, inputs.render_axes)

    @functools.cached_property
    def _rendered(self) -> tuple:
        prediction, camera = self.prediction, self.camera
        texture = prediction.lit_texture if self.with_colour else None
        look = dict(background=prediction.background)
        if texture is None or self.inputs.colour_moves_shape:
            return render_views(prediction.vertices, prediction.faces, camera, self.settings, texture=texture, **look)
        alpha = render_views(prediction.vertices, prediction.faces, camera, self.settings)[1]
        still = replace(prediction, vertices=jax.lax.stop_gradient(prediction.vertices))
        camera, texture = jax.lax.stop_gradient(camera), still.lit_texture
        return render_views(still.vertices, still.faces, camera, self.settings, texture=texture, **look)[0], alpha

    @property
    def alpha(self) -> Float[Array, "n h w"]:
        """Coverage of the rendering, in [0, 1]."""
        return self._rendered[1]

    @property
    def mask(self) -> Float[Array, "n h w"]:
        """Coverage of the object in the supervising views."""
        return merge_views(self.batch.target_masks)

    @property
    def input_mask(self) -> Float[Array, "b h w"]:
        """Coverage in the picture itself: its fourth channel, or that of the first view, which shows the same frame."""
        image = self.batch.image
        return image[..., 3] if image.shape[-1] == 4 else self.batch.target_masks[:, 0]

    @property
    def target(self) -> Float[Array, "n h w 3"]:
        """The supervising views."""
        return merge_views(self.batch.target_images)

    @functools.cached_property
    def rgb(self) -> Float[Array, "n h w 3"]:
        """The rendering where it and the object cover the pixel, else the target; see ``where_both_cover``. Or all of
        it, where whole pictures are compared."""
        if self.inputs.whole_picture:
            return self._rendered[0]
        return where_both_cover(self._rendered[0], self.target, self.alpha, self.mask)

    @property
    def cut_out(self) -> tuple[Float[Array, "n h w 3"], Float[Array, "n h w 3"]]:
        """The rendering times its coverage, and the supervising views times the mask: both over black."""
        alpha = self.alpha if self.inputs.colour_moves_shape else jax.lax.stop_gradient(self.alpha)
        return self._rendered[0] * alpha[..., None], self.target * self.mask[..., None]

    @functools.cached_property
    def earlier(self) -> tuple["Seen", ...]:
        """The shapes of earlier layers and steps in place of the last, each as a prediction of its own."""
        every = self.prediction.intermediate_vertices
        return tuple(replace(self, prediction=replace(self.prediction, vertices=vertices)) for vertices in every)


class Need(NamedTuple):
    """What of the model a term needs.

    Args:
      is_met: whether ``config.model`` gives it.
      words: what to set.
    """

    is_met: Callable[[ConfigDict], bool]
    words: str


NOTHING = Need(lambda model: True, "")
TEXTURE = Need(lambda model: model.texture.kind != "none", "config.model.texture.kind other than none")
FLOW = Need(lambda model: model.texture.kind == "flow", "config.model.texture.kind=flow")
SALIENCY = Need(lambda model: model.saliency, "config.model.saliency=True")
KEYPOINTS = Need(lambda model: model.num_keypoints > 0, "config.model.num_keypoints > 0 and a data set with key points")
MEAN = Need(lambda model: model.shape.mean_shape, "config.model.shape.mean_shape=True")
CAMERA = Need(lambda model: model.camera.predict or model.camera.kind != "given", "config.model.camera.predict=True")
NEIGHBOURS = Need(
    lambda model: _has_codes(model) and CANDIDATES.is_met(model),
    "config.model.shape.kind=field (or shape.head=field), config.model.texture.code_size > 0 (or texture.kind="
    "map_transformer) and config.model.camera.kind=candidates",
)
CANDIDATES = Need(lambda model: model.camera.kind == "candidates", "config.model.camera.kind=candidates")


def _has_codes(model: ConfigDict) -> bool:
    """Whether a code of each picture tells its shape, and another one its colours."""
    shape, texture = model.shape, model.texture
    has_coarse = shape.coarse or shape.kind != "transformer"
    has_texture = texture.code_size > 0 or texture.kind == "map_transformer"
    return "field" in (shape.kind, shape.head) and has_coarse and has_texture


@dataclass(frozen=True)
class Term:
    """One term of the loss.

    Args:
      name: of its weight in ``config.stage.<name>.losses``, and of its value in the log.
      function: one value for every view, or for every object, or one for the batch. In the phase ``pose`` of a model
        that proposes cameras, every view is that of one candidate, and its value counts with its probability; unless
        the term is about all candidates together, then it is one value for the batch.
      needs: what of the model it needs; ``TEXTURE``, too, so that views are rendered in colour.
      phases: in which it counts.
      reads_network: whether it compares features of the network ``LossInputs.perceptual``.
    """

    name: str
    function: Callable[[Seen], Float[Array, "..."]]
    needs: Need = NOTHING
    phases: tuple[str, ...] = ("pose", "shape")
    reads_network: bool = False


# AST-DIFF: the paper compares whole pictures, which pulls colours to the background's where the shape is wrong.
def where_both_cover(
    rgb: Float[Array, "n h w 3"],
    target: Float[Array, "n h w 3"],
    alpha: Float[Array, "n h w"],
    mask: Float[Array, "n h w"],
) -> Float[Array, "n h w 3"]:
    """The rendering where it and the object cover the pixel, ``target + alpha mask (rgb - target)``, else the target.

    Args:
      rgb: rendering, over the background of the target.
      target: supervising views.
      alpha: coverage of the rendering; it is the business of the silhouette terms, and gets no gradient here.
      mask: coverage of the object.
    """
    both = jax.lax.stop_gradient(alpha) * mask
    return target + both[..., None] * (rgb - target)


def merge_views(x: Float[Array, "b s ..."]) -> Float[Array, "..."]:
    """``[b, s, ...]`` -> ``[b * s, ...]``."""
    return x.reshape(-1, *x.shape[2:])
