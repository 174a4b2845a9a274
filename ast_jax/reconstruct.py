"""From photographs to textured meshes: predict, find the camera, refine if asked, write files to look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import scipy.ndimage
from absl import logging
from flax import nnx
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict
from PIL import Image

from ast_jax.data.crop import crop_to_mask
from ast_jax.data.photo import load_photo
from ast_jax.data.pipeline import checked_config, photo_input
from ast_jax.export import (
    Gallery,
    ObjectRow,
    Table,
    Text,
    draw_views,
    encode_gif,
    encode_glb,
    render_turntable,
    write_report,
)
from ast_jax.fit import Refinement, estimate_camera, mask_overlap, refine
from ast_jax.model import Prediction
from ast_jax.model.camera import most_probable
from render import PerspectiveCamera

Predict = Callable[[Float[np.ndarray, "1 h w 3"]], Prediction]

_DISPLAY_SIZE = 256  # px, side of each picture that is written
_FIT_SIZE = 64  # px, side of the picture that camera and refinement see
_OUTLINE = (213, 94, 0)  # Okabe and Ito's vermilion: visible on most photographs, with any colour vision


@dataclass(frozen=True)
class Reconstruction:
    """One picture and the mesh behind it.

    Args:
      name: of the files that are written.
      picture: square crop, RGB in [0, 1] over the background of the training pictures.
      mask: of the crop, coverage in [0, 1].
      vertices: world space, +Y up, front towards +Z.
      faces: counter-clockwise from outside.
      texels: per-face colours in [0, 1], or None when the model predicts shapes alone.
      camera: of the crop, leading axis 1.
      mask_iou: overlap of the mesh seen from ``camera`` with the mask.
      refinement: the losses before and after, when the mesh was refined on the picture.
    """

    name: str
    picture: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    texels: Float[np.ndarray, "f t t 3"] | None
    camera: PerspectiveCamera
    mask_iou: float
    refinement: Refinement | None = None


def make_predictor(model: nnx.Module) -> Predict:
    """A model, as ``load_model`` gives it, as a compiled function of a batch of one picture."""
    graphdef, params = nnx.split(model)
    compiled = jax.jit(lambda params, image: nnx.merge(graphdef, params)(image))
    return lambda image: compiled(params, image)


def reconstruct(
    predict: Predict,
    rgb: Float[np.ndarray, "h w 3"],
    mask: Float[np.ndarray, "h w"],
    data_config: ConfigDict | dict,
    *,
    name: str = "object",
    refine_steps: int = 0,
) -> Reconstruction:
    """Reconstruct the object under the mask of one photograph.

    Args:
      predict: see :func:`make_predictor`.
      rgb: in [0, 1], any size.
      mask: coverage in [0, 1], of the same size.
      data_config: of the training run; size, margin and background of the crop come from it.
      name: of the files that will be written.
      refine_steps: steps of analysis by synthesis on this picture; 0 keeps the prediction as it is.

    Returns:
      mesh, texture and camera.

    Raises:
      ValueError: the mask is empty or does not fit the picture.
    """
    data = checked_config(data_config)

    def crop(size: int):
        return crop_to_mask(rgb, mask, size, padding=data["crop_padding"], background=data["background"])

    image = photo_input(rgb, mask, data)
    prediction = predict(image[None])
    vertices, faces = prediction.vertices[0], prediction.faces
    texels = None if prediction.texels is None else prediction.texels[0]
    picture, small_mask = crop(_FIT_SIZE)
    found = estimate_camera(
        vertices, faces, small_mask, texels=texels, picture=picture, start=_most_probable_camera(prediction)
    )
    camera, mask_iou, refinement = found.camera, found.iou, None
    if refine_steps > 0:
        options = dict(texels=texels, steps=refine_steps, background=data["background"])
        refinement = refine(vertices, faces, camera, picture, small_mask, **options)
        vertices, texels, camera = refinement.vertices, refinement.texels, refinement.camera
        mask_iou = mask_overlap(vertices, faces, camera, small_mask)
    picture, large_mask = crop(_DISPLAY_SIZE)
    return Reconstruction(
        name=name,
        picture=picture,
        mask=large_mask,
        vertices=np.asarray(vertices),
        faces=faces,
        texels=None if texels is None else np.asarray(texels),
        camera=camera,
        mask_iou=mask_iou,
        refinement=refinement,
    )


def _most_probable_camera(prediction: Prediction) -> PerspectiveCamera | None:
    """The model's own camera with leading axis 1, where it has one."""
    if prediction.camera is None:
        return None
    if prediction.camera_logits is None:
        return jax.tree.map(lambda leaf: leaf[0, :1], prediction.camera)
    return most_probable(prediction.camera, prediction.camera_logits)


def overlay(result: Reconstruction) -> UInt8[np.ndarray, "h w3 3"]:
    """Three squares side by side: the picture, the mesh from its camera, its outline on the picture."""
    picture = np.round(result.picture * 255).astype(np.uint8)
    size = picture.shape[:2]
    black = np.zeros((len(result.faces), 1, 1, 3)) if result.texels is None else np.zeros_like(result.texels)
    drawn, black = (
        draw_views(result.vertices, result.faces, result.camera, texels=texels, image_size=size)[0]
        for texels in (result.texels, black)
    )
    inside = black[..., 0] < 128
    line = scipy.ndimage.binary_dilation(inside) & ~scipy.ndimage.binary_erosion(inside, border_value=1)
    outlined = np.where(line[..., None], np.array(_OUTLINE, np.uint8), picture)
    return np.concatenate([picture, drawn, outlined], axis=1)


def write_files(folder: Path, result: Reconstruction) -> ObjectRow:
    """Write ``<name>.glb``, ``<name>.png`` and ``<name>.gif`` and return the row of the report."""
    glb = encode_glb(result.vertices, result.faces, texels=result.texels)
    gif = encode_gif(render_turntable(result.vertices, result.faces, result.texels))
    panels = overlay(result)
    (folder / f"{result.name}.glb").write_bytes(glb)
    (folder / f"{result.name}.gif").write_bytes(gif)
    Image.fromarray(panels).save(folder / f"{result.name}.png")
    picture, drawn, outlined = np.split(panels, 3, axis=1)
    views = [
        ("estimated camera", drawn, None),
        ("outline on the picture", outlined, None),
        ("turntable", gif, None),
    ]
    metrics = {"overlap with the mask": result.mask_iou}
    if result.refinement is not None:
        metrics["loss before refinement"] = result.refinement.before["total"]
        metrics["loss after it"] = result.refinement.after["total"]
    return ObjectRow(result.name, picture, glb, views=views, metrics=metrics)


def reconstruct_files(
    model: nnx.Module,
    data_config: ConfigDict | dict,
    images: Sequence[str],
    output: str | Path,
    *,
    masks: Sequence[str] = (),
    refine_steps: int = 0,
) -> list[str]:
    """Reconstruct every picture and write meshes, pictures and ``index.html``; a bad picture stops no other.

    Args:
      model: trained.
      data_config: of its training run.
      images: files of any size; their alpha channel, a mask file or a plain background tells the object.
      output: folder, made if it is missing.
      masks: none, or one file per picture; white is object.
      refine_steps: see :func:`reconstruct`.

    Returns:
      one line for every picture that could not be reconstructed.

    Raises:
      ValueError: masks are given, but not one per picture, or there is no picture.
    """
    if not images:
        raise ValueError("image: no file given.")
    if masks and len(masks) != len(images):
        raise ValueError(f"mask: {len(masks)} files for {len(images)} pictures; give one for each, or none.")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    predict = make_predictor(model)
    rows, problems = [], []
    for index, (image, name) in enumerate(zip(images, unique_names(images))):
        try:
            rgb, mask = load_photo(image, masks[index] if masks else None)
            result = reconstruct(predict, rgb, mask, data_config, name=name, refine_steps=refine_steps)
        except (ValueError, OSError) as error:
            problems.append(_one_line(image, error))
            continue
        rows.append(write_files(folder, result))
        logging.info("%s: overlap with the mask %.3f", image, result.mask_iou)
    if rows:
        _write_page(folder / "index.html", rows, problems)
    return problems


def unique_names(images: Sequence[str]) -> list[str]:
    """Names for the output files: the stem, numbered from the second on where it repeats.

    Example:
      >>> unique_names(["a/cup.png", "b/cup.jpg", "pot.png"])
      ['cup', 'cup-2', 'pot']
    """
    names: list[str] = []
    for image in images:
        stem, name, number = Path(image).stem, Path(image).stem, 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _one_line(image: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if str(image) in text else f"{image}: {text}"


def _write_page(path: Path, rows: list[ObjectRow], problems: list[str]) -> None:
    sections = [Gallery("", rows)]
    if len(rows) > 1:
        table = [[row.name, *row.metrics.values()] for row in rows]
        sections.append(Table("Numbers", ["picture", *rows[0].metrics], table))
    if problems:
        sections.append(Text("Not reconstructed", problems))
    count = "1 picture" if len(rows) == 1 else f"{len(rows)} pictures"
    write_report(path, "Reconstructions", *sections, subtitle=f"Meshes from {count}, one view each.")
