"""From photographs to textured meshes: predict, find the camera, refine if asked, write files to look at."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import scipy.ndimage
from absl import logging
from flax import nnx
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict
from PIL import Image

from ast_jax.compile_options import quick_options
from ast_jax.data.crop import crop_to_mask
from ast_jax.data.data_config import checked_config
from ast_jax.data.names import printable
from ast_jax.data.photo import load_photo
from ast_jax.data.photo_list import list_photos
from ast_jax.data.pipeline import photo_input
from ast_jax.export import (
    Gallery,
    ObjectRow,
    Table,
    Text,
    draw_views,
    encode_gif,
    encode_glb,
    render_turntable,
    report_page,
)
from ast_jax.fit import Refinement, estimate_camera, mask_overlap, refine
from ast_jax.output_folder import OutputFolder, unique_names
from ast_jax.prediction import Prediction
from render import PerspectiveCamera

Predict = Callable[[Float[np.ndarray, "1 h w c"]], Prediction]

_DISPLAY_SIZE = 256  # px, side of each picture that is written
_FIT_SIZE = 64  # px, side of the picture that camera and refinement see
_PAGE_SIZE = 50  # pictures on one page of the report: a browser shows that many meshes, and memory stays flat
_OUTLINE = (213, 94, 0)  # Okabe and Ito's vermilion: visible on most photographs, with any colour vision


@dataclass(frozen=True)
class Reconstruction:
    """One picture and the mesh behind it.

    Args:
      name: of the files that are written.
      picture: square crop, RGB in [0, 1] over the background of the training pictures.
      mask: of the crop, coverage in [0, 1].
      surroundings: the crop with what lies outside of the mask.
      vertices: world space, +Y up, front towards +Z.
      faces: counter-clockwise from outside.
      texels: per-face colours in [0, 1], or None when the model predicts shapes alone.
      camera: of the crop, leading axis 1.
      mask_iou: overlap of the mesh seen from ``camera`` with the mask.
      refinement: the losses before and after, when the mesh was refined on the picture.
      found_by: what told the object, see ``Photo``.
      notices: what of the files was left out or guessed.
    """

    name: str
    picture: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]
    surroundings: Float[np.ndarray, "h w 3"]
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    texels: Float[np.ndarray, "f t t 3"] | None
    camera: PerspectiveCamera
    mask_iou: float
    refinement: Refinement | None = None
    found_by: str = ""
    notices: tuple[str, ...] = ()


def make_predictor(model: nnx.Module) -> Predict:
    """A model, as ``load_model`` gives it, as a compiled function of a batch of one picture."""
    graphdef, params = nnx.split(model)
    options = dict(compiler_options=quick_options())
    compiled = jax.jit(lambda params, image: nnx.merge(graphdef, params)(image), **options)
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

    def crop(size: int, masked: bool = True):
        options = dict(padding=data["crop_padding"], background=data["background"], masked=masked)
        return crop_to_mask(rgb, mask, size, **options)

    image = photo_input(rgb, mask, data)
    prediction = predict(image[None])
    vertices, faces = prediction.vertices[0], prediction.faces
    texels = None if prediction.texels is None else prediction.texels[0]
    picture, small_mask = crop(_FIT_SIZE)
    start = None if prediction.camera is None else prediction.input_camera
    found = estimate_camera(vertices, faces, small_mask, texels=texels, picture=picture, start=start)
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
        surroundings=crop(_DISPLAY_SIZE, masked=False)[0],
        vertices=np.asarray(vertices),
        faces=faces,
        texels=None if texels is None else np.asarray(texels),
        camera=camera,
        mask_iou=mask_iou,
        refinement=refinement,
    )


def overlay(result: Reconstruction) -> UInt8[np.ndarray, "h w4 3"]:
    """Four squares side by side: the picture, the mesh from its camera, its outline on the picture, and the outline of
    the mask that was used on all that the photograph shows there."""
    picture = np.round(result.picture * 255).astype(np.uint8)
    size = picture.shape[:2]
    black = np.zeros((len(result.faces), 1, 1, 3)) if result.texels is None else np.zeros_like(result.texels)
    drawn, black = (
        draw_views(result.vertices, result.faces, result.camera, texels=texels, image_size=size)[0]
        for texels in (result.texels, black)
    )
    surroundings = np.round(result.surroundings * 255).astype(np.uint8)
    return np.concatenate(
        [picture, drawn, _outlined(picture, black[..., 0] < 128), _outlined(surroundings, result.mask > 0.5)], axis=1
    )


def _outlined(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    line = scipy.ndimage.binary_dilation(inside) & ~scipy.ndimage.binary_erosion(inside, border_value=1)
    return np.where(line[..., None], np.array(_OUTLINE, np.uint8), picture)


def write_files(folder: OutputFolder, result: Reconstruction) -> ObjectRow:
    """Write ``<name>.glb``, ``<name>.png`` and ``<name>.gif`` and return the row of the report."""
    glb = encode_glb(result.vertices, result.faces, texels=result.texels)
    gif = encode_gif(render_turntable(result.vertices, result.faces, result.texels))
    panels, png = overlay(result), io.BytesIO()
    Image.fromarray(panels).save(png, format="PNG")
    for suffix, content in ((".glb", glb), (".gif", gif), (".png", png.getvalue())):
        folder.write(result.name + suffix, content)
    picture, drawn, outlined, mask = np.split(panels, 4, axis=1)
    views = [
        ("estimated camera", drawn, None),
        ("outline on the picture", outlined, None),
        (f"mask: {result.found_by}" if result.found_by else "mask", mask, None),
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

    Files that were not written by an earlier call stay as they are: a name that they have gets a number. Fifty
    pictures share a page; the second page is ``index-2.html``.

    Args:
      model: trained.
      data_config: of its training run.
      images: files of any size, or folders; see ``list_photos``. Their alpha channel, a mask file or a plain
        background tells the object.
      output: folder, made if it is missing.
      masks: none, or one file per picture; white is object.
      refine_steps: see :func:`reconstruct`.

    Returns:
      one line for every picture that could not be reconstructed.

    Raises:
      ValueError: masks are given, but not one per picture, there is no picture, or ``index.html`` is another's.
    """
    folder = OutputFolder(output)
    photos, problems, notices = list_photos(images, masks, skip=folder.is_ours)
    folder.keep(path for photo in photos for path in photo if path is not None)
    names = unique_names(
        [image for image, _ in photos],
        lambda name: all(folder.is_free(name + suffix) for suffix in (".glb", ".gif", ".png")),
    )
    report = _Report(folder, -(-len(photos) // _PAGE_SIZE))
    predict = make_predictor(model)
    for notice in notices:
        logging.info("%s", notice)
    for (image, mask), name in zip(photos, names):
        try:
            photo = load_photo(image, mask)
            result = reconstruct(predict, photo.rgb, photo.mask, data_config, name=name, refine_steps=refine_steps)
            result = replace(result, found_by=photo.found_by, notices=photo.notices)
            row = write_files(folder, result)
        except Exception as error:  # whatever is wrong with one picture, or with the memory that it takes
            problems.append(_one_line(image, error))
            continue
        logging.info("%s: overlap with the mask (%s) %.3f", image, result.found_by, result.mask_iou)
        for notice in result.notices:
            logging.info("%s: %s", image, notice)
        report.add(row, result.notices)
    report.finish([printable(line) for line in notices], problems)
    return problems


class _Report:
    """Pages of reconstructions; each is written when it is full, so memory stays flat.

    Raises:
      ValueError: a page would replace another's file.
    """

    def __init__(self, folder: OutputFolder, num_pages: int):
        self._folder, self._rows, self._notices, self._page = folder, [], [], 0
        for page in range(max(num_pages, 1)):
            if not folder.is_free(self._name(page)):
                raise ValueError(f"{folder.path / self._name(page)}: is not of this command; choose another --output.")

    def add(self, row: ObjectRow, notices: Sequence[str]) -> None:
        if len(self._rows) == _PAGE_SIZE:
            self._write([Text("", [f"More on {self._name(self._page + 1)}."])])
            self._rows, self._notices, self._page = [], [], self._page + 1
        self._rows.append(row)
        self._notices += [f"{row.name}: {notice}" for notice in notices]

    def finish(self, left_out: Sequence[str], problems: Sequence[str]) -> None:
        self._notices += left_out
        if self._rows:
            self._write([Text("Not reconstructed", problems)] if problems else [])
            print(f"wrote {printable(str(self._folder.path / self._name(0)))}")

    @staticmethod
    def _name(page: int) -> str:
        return f"index-{page + 1}.html" if page else "index.html"

    def _write(self, last: list[Text]) -> None:
        rows, sections = self._rows, [Gallery("", self._rows)]
        if len(rows) > 1:
            table = [[row.name, *row.metrics.values()] for row in rows]
            sections.append(Table("Numbers", ["picture", *rows[0].metrics], table))
        if self._notices:
            sections.append(Text("Noticed", self._notices))
        count = "1 picture" if len(rows) == 1 else f"{len(rows)} pictures"
        subtitle = f"Meshes from {count}, one view each."
        page = report_page("Reconstructions", *sections, *last, subtitle=subtitle)
        self._folder.write(self._name(self._page), page.encode())


def _one_line(image: Path, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (ValueError, OSError)):
        text = f"{type(error).__name__}: {text}"
    return printable(text if str(image) in text else f"{image}: {text}")
