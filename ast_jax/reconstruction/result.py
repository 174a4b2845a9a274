"""What is known of one object of one photograph: mesh, colours, camera, mask; as files, pictures and a page."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from ast_jax.data.crop import Box
from ast_jax.export import Gallery, ObjectRow, Text, draw_views, encode_gif, encode_glb, render_turntable, report_page
from ast_jax.near_match import choose
from ast_jax.reconstruction.fit import Refinement
from ast_jax.writing import write_bytes
from render import FaceTexels, Mesh, PerspectiveCamera

DISPLAY_SIZE = 256  # px, side of each picture that is shown
_OUTLINE = (213, 94, 0)  # Okabe and Ito's vermilion: visible on most photographs, with any colour vision
_SUFFIXES = ("glb", "png", "gif", "html")


@dataclass(frozen=True)
class Reconstruction:
    """One object of one picture, and the mesh behind it.

    Args:
      name: of the files that are written.
      picture: square crop, RGB in [0, 1] over the background of the training pictures.
      mask: of the crop, coverage in [0, 1].
      surroundings: the crop with what lies outside of the mask.
      vertices: world space, +Y up, front towards +Z.
      faces: counter-clockwise from outside.
      texels: per-face colours in [0, 1], or None when the model predicts shapes alone.
      camera: of the crop, leading axis 1.
      box: the crop, in pixels of the whole picture.
      image_size: height and width of the whole picture, px.
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
    box: Box
    image_size: tuple[int, int]
    mask_iou: float
    refinement: Refinement | None = None
    found_by: str = ""
    notices: tuple[str, ...] = ()

    @property
    def mesh(self) -> Mesh:
        """The mesh as the renderer takes it, leading axis 1."""
        return Mesh(self.vertices[None], self.faces)

    @property
    def texture(self) -> FaceTexels | None:
        """Its colours as the renderer takes them."""
        return None if self.texels is None else FaceTexels(self.texels[None])

    def overlay(self) -> UInt8[np.ndarray, "h w4 3"]:
        """Four squares side by side: the picture, the mesh from its camera, its outline on the picture, and the outline
        of the mask that was used on all that the photograph shows there."""
        size = self.picture.shape[:2]
        drawn = draw_views(self.vertices, self.faces, self.camera, texels=self.texels, image_size=size)[0]
        inside = silhouette(self.vertices, self.faces, self.texels, self.camera, size)
        picture, surroundings = (np.round(p * 255).astype(np.uint8) for p in (self.picture, self.surroundings))
        outlines = _outlined(picture, inside), _outlined(surroundings, self.mask > 0.5)
        return np.concatenate([picture, drawn, *outlines], axis=1)

    def turntable(self) -> bytes:
        """An animated GIF of the turning mesh."""
        return encode_gif(render_turntable(self.vertices, self.faces, self.texels))

    def row(self, views: dict[str, bytes] | None = None) -> ObjectRow:
        """Of a report.

        Args:
          views: more pictures, encoded, by their labels.
        """
        picture, drawn, outlined, mask = np.split(self.overlay(), 4, axis=1)
        shown = {
            "estimated camera": drawn,
            "outline on the picture": outlined,
            f"mask: {self.found_by}" if self.found_by else "mask": mask,
            **(views or {}),
        }
        metrics = {"overlap with the mask": self.mask_iou}
        if self.refinement is not None:
            metrics["loss before refinement"] = self.refinement.before["total"]
            metrics["loss after it"] = self.refinement.after["total"]
        glb = encode_glb(self.vertices, self.faces, texels=self.texels)
        rows = [(label, view, None) for label, view in shown.items()]
        return ObjectRow(self.name, picture, glb, views=rows, metrics=metrics)

    def report(self) -> str:
        """A page of its own: the mesh to turn with the mouse, the outline, the mask, and what was noticed."""
        noticed = [Text("Noticed", list(self.notices))] if self.notices else []
        return report_page(self.name, Gallery("", [self.row()]), *noticed)

    def save(self, path: str | Path) -> None:
        """Write it.

        Args:
          path: ``.glb`` for the textured mesh, ``.png`` for the overlay, ``.gif`` for a turntable, ``.html`` for the
            page of :meth:`report`. A file that is there is replaced.

        Raises:
          ValueError: another suffix.
        """
        suffix = choose(f"suffix of {path}", Path(path).suffix.lower().removeprefix("."), _SUFFIXES)
        if suffix == "glb":
            content = encode_glb(self.vertices, self.faces, texels=self.texels)
        elif suffix == "png":
            content = encode_png(self.overlay())
        elif suffix == "gif":
            content = self.turntable()
        else:
            content = self.report().encode()
        write_bytes(path, content)


def silhouette(vertices, faces, texels, camera: PerspectiveCamera, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Where the mesh is seen: drawn as the textured mesh is, in black, by the same compiled program."""
    black = np.zeros((len(faces), 1, 1, 3), np.float32) if texels is None else np.zeros_like(texels)
    return draw_views(vertices, faces, camera, texels=black, image_size=size)[0, ..., 0] < 128


def encode_png(picture: UInt8[np.ndarray, "h w *c"]) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _outlined(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    line = scipy.ndimage.binary_dilation(inside) & ~scipy.ndimage.binary_erosion(inside, border_value=1)
    return np.where(line[..., None], np.array(_OUTLINE, np.uint8), picture)
