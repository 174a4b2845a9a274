"""What is known of one object of one photograph: mesh, colours, camera, mask; as files, pictures and a page."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int, UInt8

from ast_jax.data.crop import Box
from ast_jax.export import (
    MESH_FORMATS,
    BakedTexture,
    Gallery,
    ObjectRow,
    Text,
    bake_texture,
    camera_json,
    draw_views,
    encode_gif,
    encode_mesh,
    encode_png,
    render_turntable,
    report_page,
    textured_mesh,
    unwrap,
)
from ast_jax.files.writing import write_bytes
from ast_jax.model.template import at_level, carry_points
from ast_jax.near_match import choose
from ast_jax.reconstruction.fit import Refinement
from ast_jax.reconstruction.mesh_settings import USUAL_MESH, MeshSettings
from render import FaceTexels, Mesh, PerspectiveCamera
from render.texture import Texture

DISPLAY_SIZE = 256  # px, side of each picture that is shown
# Per face, of the colours that are shown: about as fine as the texture that is written.
_SHOWN_TEXELS = 12
_OUTLINE = (213, 94, 0)  # Okabe and Ito's vermilion: visible on most photographs, with any colour vision
_SUFFIXES = (*MESH_FORMATS, "png", "gif", "html", "json")


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """One object of one picture, and the mesh behind it.

    Args:
      name: of the files that are written.
      picture: square crop, RGB in [0, 1] over the background of the training pictures.
      mask: of the crop, coverage in [0, 1].
      surroundings: the crop with what lies outside of the mask.
      close_up: the crop as large as the photograph has it, within bounds; what the texture is painted from.
      close_up_mask: of it.
      vertices: world space, +Y up, front towards +Z.
      faces: counter-clockwise from outside, of the template.
      level: of the template.
      is_symmetric: whether what one side shows colours the other.
      predicted_texture: colours in [0, 1], leading axis 1, before any refinement, which knows nothing of faces that are
        not seen; None when the model predicts shapes alone.
      camera: of the crop, leading axis 1.
      box: the crop, in pixels of the whole picture.
      image_size: height and width of the whole picture, px.
      mask_iou: overlap of the mesh seen from ``camera`` with the mask.
      refinement: the losses before and after, when the mesh was refined on the picture.
      found_by: what told the object, see ``Photo``.
      notices: what of the files was left out or guessed.
      settings: of the meshes that are written.
    """

    name: str
    picture: Float[np.ndarray, "h w 3"]
    mask: Float[np.ndarray, "h w"]
    surroundings: Float[np.ndarray, "h w 3"]
    close_up: Float[np.ndarray, "p p 3"]
    close_up_mask: Float[np.ndarray, "p p"]
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    level: int
    is_symmetric: bool
    predicted_texture: Texture | None
    camera: PerspectiveCamera
    box: Box
    image_size: tuple[int, int]
    mask_iou: float
    refinement: Refinement | None = None
    found_by: str = ""
    notices: tuple[str, ...] = ()
    settings: MeshSettings = USUAL_MESH

    def __repr__(self) -> str:
        return f"Reconstruction({self.name!r}, {len(self.faces)} faces, overlap with the mask {self.mask_iou:.3f})"

    @functools.cached_property
    def baked(self) -> BakedTexture:
        """The texture: the photograph where it shows the surface, the model's colours elsewhere."""
        return bake_texture(
            self.vertices,
            self.faces,
            self.predicted_texture,
            camera=self.camera,
            picture=self.close_up,
            mask=self.close_up_mask,
            level=self.level,
            size=self.settings.texture_size,
            symmetric=self.is_symmetric,
            layout_level=self.settings.level(self.level),
        )

    def encode(self, suffix: str, name: str = "") -> dict[str, bytes]:
        """The textured mesh as files.

        Args:
          suffix: of ``MESH_FORMATS``.
          name: of the files; empty: that of the result.

        Returns:
          names and contents, the mesh itself first.
        """
        level = self.settings.level(self.level)
        vertices = self.settings.scale * at_level(np.asarray(self.vertices, np.float64), self.level, level)
        mesh = textured_mesh(vertices, level, self.baked.image)
        centres = carry_points(np.arange(len(mesh.faces)), np.full((len(mesh.faces), 3), 1 / 3), level, self.level)[0]
        seen = {"seen_share": self.baked.seen_share, "seen_faces": self.baked.seen_faces[centres].astype(int).tolist()}
        return encode_mesh(mesh, suffix, name=name or self.name, extras=seen, up=self.settings.up)

    def camera_json(self) -> str:
        """The camera that projects the mesh onto the photograph, see ``ast_jax.export.camera_json``."""
        return json.dumps(self._camera_numbers(), indent=1) + "\n"

    def _camera_numbers(self) -> dict:
        settings = self.settings
        return camera_json(self.camera, self.box, self.image_size, up=settings.up, scale=settings.scale)

    @property
    def mesh(self) -> Mesh:
        """The mesh as the renderer takes it, leading axis 1."""
        return Mesh(self.vertices[None], self.faces)

    @functools.cached_property
    def texture(self) -> FaceTexels:
        """Its colours as the renderer takes them: those of the painted texture."""
        level = self.settings.level(self.level)
        flat, image = unwrap(level), self.baked.image
        b1, b2 = np.meshgrid(*[np.linspace(0, 1, _SHOWN_TEXELS)] * 2, indexing="ij")
        weights = np.stack([1 - b1 - b2, b1, b2], -1)
        shape = (len(self.faces), *b1.shape)
        places = np.broadcast_to(weights, (*shape, 3)).reshape(-1, 3)
        face = np.repeat(np.arange(shape[0]), b1.size)
        face, places = carry_points(face, places, self.level, level)
        u, v = np.einsum("nk,nkc->cn", places, flat.uv[flat.faces[face]]).reshape(2, *shape)
        places_px = np.stack([(1 - v) * image.shape[0], u * image.shape[1]]) - 0.5
        channels = [scipy.ndimage.map_coordinates(image[..., k], places_px, np.float32, 1, "nearest") for k in range(3)]
        return FaceTexels(np.stack(channels, -1)[None] / np.float32(255))

    def draw(self, cameras: PerspectiveCamera, size: int = DISPLAY_SIZE) -> UInt8[np.ndarray, "n s s 3"]:
        """Pictures of the textured mesh.

        Args:
          cameras: leading axis n.
          size: of the pictures' sides, px.
        """
        return draw_views(self.vertices, self.faces, cameras, texture=self.texture, image_size=(size, size))

    def overlay(self) -> UInt8[np.ndarray, "h w4 3"]:
        """Four squares side by side: the picture, the mesh from its camera, its outline on the picture, and the outline
        of the mask that was used on all that the photograph shows there."""
        return np.concatenate(self._squares, axis=1)

    @functools.cached_property
    def _squares(self) -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
        size = len(self.picture)
        drawn = self.draw(self.camera, size)[0]
        inside = silhouette(self.vertices, self.faces, self.camera, size)
        picture, surroundings = (np.round(p * 255).astype(np.uint8) for p in (self.picture, self.surroundings))
        return picture, drawn, _outlined(picture, inside), _outlined(surroundings, self.mask > 0.5)

    def turntable(self) -> bytes:
        """An animated GIF of the turning mesh."""
        return encode_gif(render_turntable(self.vertices, self.faces, self.texture))

    def row(self, views: dict[str, bytes] | None = None) -> ObjectRow:
        """Of a report.

        Args:
          views: more pictures, encoded, by their labels.
        """
        picture, drawn, outlined, mask = self._squares
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
        metrics["surface that the photograph shows"] = self.baked.seen_share
        glb = next(iter(self.encode("glb").values()))
        rows = [(label, view, None) for label, view in shown.items()]
        return ObjectRow(self.name, picture, glb, views=rows, metrics=metrics)

    def report(self) -> str:
        """A page of its own: the mesh to turn with the mouse, the outline, the mask, and what was noticed."""
        noticed = [Text("Noticed", list(self.notices))] if self.notices else []
        return report_page(self.name, Gallery("", [self.row()]), *noticed)

    def save(self, path: str | Path) -> None:
        """Write it.

        Args:
          path: ``.glb``, ``.obj``, ``.usdz``, ``.ply`` or ``.stl`` for the mesh (an OBJ has two files beside it),
            ``.png`` for the overlay, ``.gif`` for a turntable, ``.json`` for the camera, ``.html`` for the page of
            :meth:`report`. A file that is there is replaced.

        Raises:
          ValueError: another suffix.
        """
        path = Path(path)
        suffix = choose(f"suffix of {path}", path.suffix.lower().removeprefix("."), _SUFFIXES)
        if suffix in MESH_FORMATS:
            mesh, *others = self.encode(suffix, path.stem).items()
            for name, content in others:
                write_bytes(path.parent / name, content)
            write_bytes(path, mesh[1])
            return
        encoders = {
            "png": lambda: encode_png(self.overlay()),
            "gif": self.turntable,
            "json": lambda: self.camera_json().encode(),
            "html": lambda: self.report().encode(),
        }
        write_bytes(path, encoders[suffix]())


def silhouette(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], camera: PerspectiveCamera, size: int
) -> Bool[np.ndarray, "s s"]:
    """Where the mesh is seen: drawn in black, by the compiled program that draws textured meshes."""
    black = FaceTexels(np.zeros((1, len(faces), _SHOWN_TEXELS, _SHOWN_TEXELS, 3), np.float32))
    return draw_views(vertices, faces, camera, texture=black, image_size=(size, size))[0, ..., 0] < 128


def _outlined(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    line = scipy.ndimage.binary_dilation(inside) & ~scipy.ndimage.binary_erosion(inside, border_value=1)
    return np.where(line[..., None], np.array(_OUTLINE, np.uint8), picture)
