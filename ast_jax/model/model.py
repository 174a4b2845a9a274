"""The whole network: picture -> Prediction. It never sees masks, key points, cameras or ground truth.

Its keys are defined in ``ast_jax/config/model.py``; docs/config.md lists them with their meaning.
"""

import jax
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float
from ml_collections import ConfigDict

from ast_jax.arrays import Array
from ast_jax.config import ModelConfig, check
from ast_jax.model.background import BackgroundHead
from ast_jax.model.cameras import CAMERAS
from ast_jax.model.codes import ALL_LIVE, LiveCodes
from ast_jax.model.decoders import DECODERS
from ast_jax.model.encoder import Encoding, ImageEncoder
from ast_jax.model.keypoints import KeypointHead
from ast_jax.model.layers import Sizes
from ast_jax.model.light import LightHead
from ast_jax.model.saliency import SaliencyHead
from ast_jax.model.shape import ShapeBranch
from ast_jax.model.starts import WrongStarts
from ast_jax.model.synthesis import NEEDS as SYNTHESIS_NEEDS
from ast_jax.model.template import sphere, template_vertices
from ast_jax.model.textures import CODED, make_texture
from ast_jax.near_match import choose
from ast_jax.prediction import Codes, Prediction
from render import Camera, PerspectiveCamera


class Model(nnx.Module):
    """Encoder and branches; the attributes are the parameter groups that training stages name.

    Args:
      config: ``config.model``, see `ast_jax.config.ModelConfig`.
      rngs: stream for the initial parameters; nothing random happens later.
    Raises:
      ValueError: a key is unknown, missing or out of range; or pretrained weights cannot be read.
    Example:
      >>> graph, params = nnx.split(Model(config.model, rngs=nnx.Rngs(0)))
      >>> predict = jax.jit(lambda params, image: nnx.merge(graph, params)(image))
    """

    def __init__(self, config: ConfigDict, *, rngs: nnx.Rngs):
        check(config, ModelConfig, "config.model")
        has_tokens = DECODERS[choose("config.model.shape.kind", config.shape.kind, DECODERS)] is not None
        if has_tokens and not config.encoder.token_levels:
            raise ValueError("config.model.encoder.token_levels is empty, but the Shape Transformer reads tokens")
        self.level = config.shape.level
        self.encoder = ImageEncoder(config.encoder, config.dim, has_tokens=has_tokens, rngs=rngs)
        channels = tuple(self.encoder.backbone.channels)
        sizes = Sizes(config.dim, config.heads, config.mlp_ratio, channels, config.norm_order)
        self.shape = ShapeBranch(config.shape, sizes, rngs=rngs)
        make_camera = CAMERAS[choose("config.model.camera.kind", config.camera.kind, CAMERAS)]
        self.camera = make_camera(config.camera, sizes, rngs=rngs)
        self.texture = make_texture(config.texture, self.level, sizes, knows_camera=self.camera.sees, rngs=rngs)
        num_vertices = len(sphere(self.level).vertices)
        has_keypoints = config.num_keypoints > 0
        self.keypoints = KeypointHead(config.num_keypoints, num_vertices, rngs=rngs) if has_keypoints else None
        self.light = LightHead(config.dim, rngs=rngs) if config.light != "none" else None
        has_background = config.background.kind != "none"
        self.background = BackgroundHead(config.background, config.dim, rngs=rngs) if has_background else None
        self.saliency = SaliencyHead(channels[0], rngs=rngs) if config.saliency else None

    @property
    def is_symmetric(self) -> bool:
        """Whether every shape is its own mirror image in x = 0."""
        return self.shape.levels[2]

    @property
    def template(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices [v, 3] and faces [f, 3] that every prediction starts from."""
        return template_vertices(self.level, *self.shape.template), sphere(self.level).faces

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        *,
        camera: Camera | None = None,
        synthesis: bool = True,
        both_ways: bool = True,
        wrong_starts: WrongStarts | None = None,
        live: LiveCodes = ALL_LIVE,
        return_attention: bool = False,
    ) -> Prediction:
        """Reconstruct.

        Args:
          image: RGB in [0, 1], cropped to the object; a fourth channel is its coverage.
          camera: of the picture, where it is known; None: the predicted one.
          synthesis: whether the steps of analysis by synthesis are taken, if the model has any.
          both_ways: see `encode`.
          wrong_starts: which steps begin at a wrong shape and camera, in training.
          live: how much of the codes counts, of a model that has codes.
          return_attention: also return the cross-attention of both decoders; costs nothing otherwise.
        """
        image = jax.numpy.asarray(image)
        encoding = self.encode(image, both_ways=both_ways)
        options = dict(synthesis=synthesis, wrong_starts=wrong_starts, live=live, return_attention=return_attention)
        return self.answer(image, encoding, camera=camera, **options)

    def encode(self, image: Float[Array, "b h w c"], *, both_ways: bool = True) -> Encoding:
        """What the encoder makes of the picture.

        Args:
          image: as for a call of the model.
          both_ways: encode its mirror image, too, if shapes are symmetric: it shows the same shape, and the coarse
            shape is then the mean of what both say. Training sees enough mirror images without.
        """
        encoding = self.encoder(image[..., :3])
        if not both_ways or not self.is_symmetric or self.shape.coarse is None:
            return encoding
        return encoding._replace(mirrored=self.encoder(image[..., ::-1, :3]).summary)

    def answer(
        self,
        image: Float[Array, "b h w c"],
        encoding: Encoding,
        *,
        camera: Camera | None = None,
        camera_is_known: bool | Bool[Array, ""] = True,
        synthesis: bool = True,
        wrong_starts: WrongStarts | None = None,
        live: LiveCodes = ALL_LIVE,
        return_attention: bool = False,
    ) -> Prediction:
        """Decode; parts of the encoding, or the picture, may be another object's, which tells what a branch reads.

        Args:
          image: whose colours are gathered.
          encoding: what the encoder made of the picture.
          camera_is_known: whether a camera that comes along is a true one, which no step may move.
          camera, synthesis, wrong_starts, live, return_attention: as for a call of the model.
        """
        predicted = self.camera(encoding.summary)
        seen = predicted.seen if camera is None else camera
        coverage = image[..., 3] if image.shape[-1] == 4 else None
        synthesis = synthesis and self.shape.synthesis is not None
        if synthesis and (coverage is None or seen is None):
            raise ValueError(f"config.model.shape.synthesis: {SYNTHESIS_NEEDS}")
        # Steps move a camera of perspective that is regressed; that of candidates is the world's own.
        is_fixed = predicted.candidates is not None or not isinstance(seen, PerspectiveCamera)
        holds_camera = is_fixed or (camera is not None and camera_is_known)
        evidence = dict(coverage=coverage, camera=seen, holds_camera=holds_camera, wrong_starts=wrong_starts)
        evidence = evidence if synthesis else {}
        shape = self.shape(encoding, **evidence, live=live, return_attention=return_attention)
        earlier, seen = _camera_steps(seen, shape.cameras)
        attention, painted = {"shape": shape.attention}, None
        if self.texture is not None:
            limit = dict(live=live) if isinstance(self.texture, CODED) else {}
            painted = self.texture(image, encoding, shape.vertices, seen, **limit, return_attention=return_attention)
            attention["texture"] = painted.attention
        mean, batch = self.shape.mean_vertices(), len(shape.vertices)
        return Prediction(
            vertices=shape.vertices,
            faces=sphere(self.level).faces,
            intermediate_vertices=shape.intermediate,
            texture=None if painted is None else painted.texture,
            camera=predicted.candidates,
            camera_logits=predicted.logits,
            input_camera=seen,
            intermediate_cameras=earlier,
            keypoints_world=None if self.keypoints is None else self.keypoints(shape.vertices),
            light=None if self.light is None else self.light(encoding.summary),
            background=None if self.background is None else self.background(encoding.summary, live),
            keypoint_entropy=None if self.keypoints is None else self.keypoints.entropy(batch),
            mean_vertices=None if mean is None else jax.numpy.broadcast_to(mean, shape.vertices.shape),
            texture_flow=None if painted is None else painted.flow,
            codes=Codes(shape.code, None if painted is None else painted.code, shape.scale),
            saliency=None if self.saliency is None else self.saliency(encoding.features[0]),
            attention=attention if return_attention else None,
        )


def _camera_steps(first: Camera | None, cameras: Camera | None) -> tuple[Camera | None, Camera | None]:
    """The cameras [b, k] before the last step, the first of them regressed, and the last [b]."""
    if cameras is None:
        return None, first
    every = jax.tree.map(lambda one, more: jax.numpy.concatenate([one[:, None], more], axis=1), first, cameras)
    return jax.tree.map(lambda x: x[:, :-1], every), jax.tree.map(lambda x: x[:, -1], every)
