"""From photographs to textured meshes: find the object, predict, find the camera, refine if asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float
from ml_collections import ConfigDict

from ast_jax.data.crop import crop_surroundings, crop_to_mask, object_box
from ast_jax.data.data_config import checked_config
from ast_jax.data.images import Source
from ast_jax.data.masks import objects_of
from ast_jax.data.photo import Photo, load_photo
from ast_jax.data.pipeline import photo_input
from ast_jax.model.predictor import make_predictor
from ast_jax.prediction import Prediction
from ast_jax.pretrained.saliency import FindObject
from ast_jax.reconstruction.fit import estimate_camera, improve_camera, refine
from ast_jax.reconstruction.mesh_settings import USUAL_MESH, MeshSettings
from ast_jax.reconstruction.result import DISPLAY_SIZE, Reconstruction, silhouette
from render import PerspectiveCamera
from render.texture import Texture

_FIT_SIZE = 64  # px, side of the picture that camera and refinement see
# How often the camera is fitted to the mesh, and the mesh predicted for that camera. When this was chosen, the mean
# overlap of 35 photographs of birds was .63 at first, .77 after one round and .78 after two.
_ROUNDS, _CAMERA_STEPS = 1, 60
# With less overlap than this, cameras from all around are tried.
_GOOD_OVERLAP = 0.7
_CLOSE_UP_SIZES = (256, 512, 1024, 2048)  # px
# The most pictures of one call of the model; fewer are filled up to a power of two, so that few programs do for all.
_LARGEST_BATCH = 16


class Reconstructor:
    """A trained model as a function of photographs.

    Args:
      model: as ``load_model`` gives it.
      data_config: of its training run; size, margin and background of the crop come from it.
      find_object: asked for the object where a photograph has neither mask nor alpha nor a plain background, see
        `ast_jax.pretrained.saliency`; None: such a photograph is refused.
      settings: of the meshes that are written.
    """

    def __init__(
        self,
        model: nnx.Module,
        data_config: ConfigDict | dict,
        *,
        find_object: FindObject | None = None,
        settings: MeshSettings = USUAL_MESH,
    ):
        self._predict, self._data = make_predictor(model, takes_camera=True), checked_config(data_config)
        self._find_object, self._settings = find_object, settings
        self._level, self._is_symmetric = model.level, model.is_symmetric  # ty: ignore[missing-attribute]

    def reconstruct(
        self, photo: Source, mask: Source | None = None, *, name: str = "", refine_steps: int = 0
    ) -> Reconstruction:
        """The largest object of a photograph.

        Args:
          photo: a file, a pillow image, or an array ``[h, w, 3]`` or ``[h, w, 4]`` of bytes or of floats in [0, 1].
          mask: white is object; a file, a pillow image or an array ``[h, w]``. None: the alpha channel tells, or a
            plain background, or the network that ``pip install "ast-jax[photo]"`` brings.
          name: of the result; empty: the file's.
          refine_steps: steps of analysis by synthesis on this picture; 0 keeps the prediction as it is.

        Raises:
          ValueError: a file cannot be read, or no object is found; the message says what to do.
        """
        seen = load_photo(photo, mask, find_object=self._find_object)
        return self.reconstruct_object(
            seen, objects_of(seen.mask)[0], name=_stem(photo, name), refine_steps=refine_steps
        )

    def reconstruct_all(
        self, photo: Source, mask: Source | None = None, *, name: str = "", refine_steps: int = 0
    ) -> list[Reconstruction]:
        """Every object of a photograph by itself, the largest first; arguments as in :meth:`reconstruct`."""
        seen = load_photo(photo, mask, find_object=self._find_object)
        name = _stem(photo, name)
        parts = objects_of(seen.mask)
        return [self.reconstruct_object(seen, part, name=name, refine_steps=refine_steps) for part in parts]

    def reconstruct_batch(self, photos: Sequence[Source]) -> list[Reconstruction]:
        """The largest object of every photograph; the model sees them all in one compiled call.

        Args:
          photos: see :meth:`reconstruct`.

        Raises:
          ValueError: as :meth:`reconstruct`, for the first photograph that cannot be used.
        """
        seen = [load_photo(photo, find_object=self._find_object) for photo in photos]
        masks = [objects_of(photo.mask)[0] for photo in seen]
        images = [photo_input(photo.rgb, mask, self._data) for photo, mask in zip(seen, masks)]
        parts = [images[i : i + _LARGEST_BATCH] for i in range(0, len(images), _LARGEST_BATCH)]
        predictions = [one for part in parts for one in self._predict_batch(np.stack(part))]
        rows = zip(photos, seen, masks, images, predictions)
        return [
            self._finish(image[None], one, photo, mask, _stem(source, ""), 0)
            for source, photo, mask, image, one in rows
        ]

    def reconstruct_object(
        self, photo: Photo, mask: Float[np.ndarray, "h w"], *, name: str = "object", refine_steps: int = 0
    ) -> Reconstruction:
        """One object of a photograph that was read.

        Args:
          photo: as ``load_photo`` gives it.
          mask: of the object, coverage in [0, 1], of the same size.
          name: of the result.
          refine_steps: see :meth:`reconstruct`.

        Raises:
          ValueError: the mask is empty or does not fit the picture.
        """
        image = photo_input(photo.rgb, mask, self._data)[None]
        return self._finish(image, self._predict(image, None), photo, mask, name, refine_steps)

    def _predict_batch(self, images: Float[np.ndarray, "b h w c"]) -> list[Prediction]:
        """The predictions one by one, each with a leading axis of 1."""
        count = len(images)
        filled = 1 << (count - 1).bit_length()
        prediction = self._predict(np.concatenate([images, np.repeat(images[:1], filled - count, axis=0)]), None)
        return [prediction[k : k + 1] for k in range(count)]

    def _finish(self, image, prediction: Prediction, photo: Photo, mask, name: str, refine_steps: int):
        """Camera, refinement, and the pictures to show."""
        data = self._data
        options = dict(padding=data["crop_padding"], background=data["background"])
        picture, small_mask = crop_to_mask(photo.rgb, mask, _FIT_SIZE, **options)
        large_picture, large_mask = crop_to_mask(photo.rgb, mask, DISPLAY_SIZE, **options)
        view = _View(picture, small_mask, large_mask)
        found = [] if prediction.input_camera is None else [self._agree(image, prediction, view)]
        if not found or found[0].overlap < _GOOD_OVERLAP:
            found.append(self._search(image, prediction, view))
        seen = max(found, key=lambda seen: seen.overlap)
        refinement, predicted_texture = None, seen.texture
        if refine_steps > 0:
            mesh = seen.vertices, seen.faces
            refinement = refine(
                *mesh, seen.camera, picture, small_mask,
                texture=seen.texture, steps=refine_steps, background=data["background"],
            )  # fmt: skip
            seen = _seen(refinement.vertices, seen.faces, refinement.texture, refinement.camera, view)
        box = object_box(mask, padding=data["crop_padding"])
        close_up, close_up_mask = crop_to_mask(photo.rgb, mask, _close_up_size(box.side), **options)
        return Reconstruction(
            name=name,
            picture=large_picture,
            mask=large_mask,
            surroundings=crop_surroundings(photo.rgb, box, DISPLAY_SIZE, data["background"]),
            close_up=close_up,
            close_up_mask=close_up_mask,
            vertices=seen.vertices,
            faces=seen.faces,
            level=self._level,
            is_symmetric=self._is_symmetric,
            predicted_texture=predicted_texture,
            camera=seen.camera,
            box=box,
            image_size=mask.shape,
            mask_iou=seen.overlap,
            refinement=refinement,
            found_by=photo.found_by,
            notices=photo.notices,
            settings=self._settings,
        )

    def _agree(self, image, prediction: Prediction, view: "_View") -> "_Seen":
        """The camera fitted to the mesh, the mesh predicted for that camera, and again."""
        camera = prediction.input_camera
        for round_ in range(_ROUNDS + 1):
            mesh = prediction.vertices[0], prediction.faces
            camera = improve_camera(*mesh, view.small_mask, camera, steps=_CAMERA_STEPS)
            if round_ < _ROUNDS:
                prediction = self._predict(image, camera)
        return _seen(*mesh, prediction.texture, camera, view)

    def _search(self, image, prediction: Prediction, view: "_View") -> "_Seen":
        """The same, from cameras all around, and from the candidates of the model if it has any."""
        mesh, texture = (prediction.vertices[0], prediction.faces), prediction.texture
        start = prediction.input_camera
        if prediction.camera is not None:
            start = jax.tree.map(lambda leaf: leaf[0], prediction.camera)
        found = estimate_camera(*mesh, view.small_mask, texture=texture, picture=view.picture, start=start).camera
        if prediction.input_camera is None:
            return _seen(*mesh, texture, found, view)
        again = self._predict(image, found)
        return _seen(again.vertices[0], again.faces, again.texture, found, view)


class _View(NamedTuple):
    """The crop at the sizes of fitting and of showing."""

    picture: Float[np.ndarray, "h w 3"]
    small_mask: Float[np.ndarray, "h w"]
    large_mask: Float[np.ndarray, "H W"]


class _Seen(NamedTuple):
    """A mesh, the camera that sees it, and how well its silhouette covers the mask."""

    vertices: Float[np.ndarray, "v 3"]
    faces: np.ndarray
    texture: Texture | None
    camera: PerspectiveCamera
    overlap: float


def _seen(vertices, faces, texture: Texture | None, camera, view: _View) -> _Seen:
    drawn, wanted = silhouette(np.asarray(vertices), faces, camera, len(view.large_mask)), view.large_mask > 0.5
    overlap = float((drawn & wanted).sum() / max((drawn | wanted).sum(), 1))
    return _Seen(np.asarray(vertices), faces, jax.tree.map(np.asarray, texture), camera, overlap)


def _close_up_size(side: float) -> int:
    """As many pixels as the photograph has there, or more, within bounds; few sizes, so that few programs do."""
    return next((size for size in _CLOSE_UP_SIZES if size >= side), _CLOSE_UP_SIZES[-1])


def _stem(photo: Source, name: str) -> str:
    return name or (Path(photo).stem if isinstance(photo, str | Path) else "object")
