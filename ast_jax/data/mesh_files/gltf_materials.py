"""Materials of glTF 2.0 as ours (section 3.9), with the texture coordinates that their pictures ask for."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ast_jax.data.colour import srgb_from_linear
from ast_jax.data.images import decode_picture, image_to_array
from ast_jax.data.mesh_files.gltf_document import Document, extension, field, integer, number, numbers
from ast_jax.data.source_mesh import WHITE, Material, Wrap

SPECULAR = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"
BASIS = "KHR_texture_basisu"
# Extensions by which a texture names a picture of another format; the first that can be read is taken.
PICTURE_EXTENSIONS = ("EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds")
WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
# Of all pictures of a file together, decoded.
MAX_TOTAL_PIXELS = 400_000_000


@dataclass(frozen=True)
class Appearance:
    """A material and where its picture lies on the surface.

    Args:
      material: ours.
      uv_set: n of the ``TEXCOORD_n`` that the picture uses.
      uv_matrix: from these to coordinates in the picture, v still down.
    """

    material: Material
    uv_set: int = 0
    uv_matrix: Float[np.ndarray, "2 3"] | None = None

    @cached_property
    def without_image(self) -> "Appearance":
        """The plain colour."""
        return Appearance(replace(self.material, image=None))


class Materials:
    """The materials of one file, each read once."""

    def __init__(self, document: Document):
        self._document = document
        self._appearances: dict[int, Appearance] = {}
        self._images: dict[int, np.ndarray | None] = {}
        self._decoded: dict[bytes, np.ndarray | str] = {}
        self._pixels = 0

    def appearance(self, index: int | None) -> Appearance:
        """Of a primitive's ``material``; white where it has none (section 3.9.5)."""
        if index is None:
            return Appearance(Material(WHITE, alpha_mode="opaque"))
        if index not in self._appearances:
            self._appearances[index] = self._read(self._document.entry("materials", index))
        return self._appearances[index]

    def _read(self, entry: dict) -> Appearance:
        specular, metallic = extension(entry, SPECULAR), field(entry, "pbrMetallicRoughness", dict, {})
        if specular is not None:
            factor, info = numbers(specular, "diffuseFactor", [1.0] * 4), field(specular, "diffuseTexture", dict, None)
        else:
            factor, info = (
                numbers(metallic, "baseColorFactor", [1.0] * 4),
                field(metallic, "baseColorTexture", dict, None),
            )
        if any(numbers(entry, "emissiveFactor", [0.0] * 3)):
            self._document.notice("left out the light that a material emits (emissiveFactor): colours are without it")
        mode = field(entry, "alphaMode", str, "OPAQUE")
        if mode not in ("OPAQUE", "MASK", "BLEND"):
            raise ValueError(f"alphaMode {mode[:40]!r}, expected OPAQUE, MASK or BLEND.")
        material = Material(
            tuple(float(c) for c in srgb_from_linear(np.array(factor[:3]))),
            opacity=min(max(factor[3], 0.0), 1.0),
            alpha_mode=mode.lower(),
            alpha_cutoff=number(entry, "alphaCutoff", 0.5),
        )
        return Appearance(material) if info is None else self._textured(material, info)

    def _textured(self, material: Material, info: dict) -> Appearance:
        texture = self._document.entry("textures", integer(info, "index"))
        image = self._image(texture)
        if image is None:
            return Appearance(material)
        sampler = integer(texture, "sampler", None)
        entry = {} if sampler is None else self._document.entry("samplers", sampler)
        material = replace(material, image=image, wrap=(_wrap(entry, "wrapS"), _wrap(entry, "wrapT")))
        transform = extension(info, TRANSFORM) or {}
        uv_set = integer(transform, "texCoord", integer(info, "texCoord", 0))
        return Appearance(material, uv_set, _uv_matrix(transform) if transform else None)

    def _image(self, texture: dict) -> np.ndarray | None:
        """The picture of a texture; None, with a notice, where there is none to be had."""
        choices = [extension(texture, name) for name in PICTURE_EXTENSIONS]
        sources = [integer(choice, "source") for choice in choices if choice is not None]
        sources += [integer(texture, "source")] if "source" in texture else []
        for source in sources:
            if source not in self._images:
                self._images[source] = self._decode(source)
            if self._images[source] is not None:
                if extension(texture, BASIS) is not None:
                    self._document.notice(f"read the plain copy of a texture that is there as {BASIS} too")
                return self._images[source]
        if not sources:
            others = ", ".join(sorted(field(texture, "extensions", dict, {}))) or "no picture"
            self._document.notice(f"left out a texture with {others[:200]!r}: the plain colour is shown instead")
        return None

    def _decode(self, index: int) -> np.ndarray | None:
        entry = self._document.entry("images", index)
        view, uri = integer(entry, "bufferView", None), field(entry, "uri", str, None)
        try:
            if view is not None:
                content = bytes(self._document.view(view)[0])
            elif uri is not None:
                content = self._document.resource(uri)
            else:
                raise ValueError("it has neither a URI nor a buffer view.")
            return self._picture(content)
        except ValueError as error:
            self._document.notice(f"left out images[{index}], the plain colour is shown instead: {error}")
            return None

    def _picture(self, content: bytes) -> np.ndarray:
        """Each only once, also where it cannot be read: a file may name one picture ten thousand times."""
        if content not in self._decoded:
            if self._pixels > MAX_TOTAL_PIXELS:
                raise ValueError(
                    f"the textures before it have more than {MAX_TOTAL_PIXELS:,} pixels, which is the limit."
                )
            try:
                self._decoded[content] = image_to_array(decode_picture(content, "the picture"))
                self._pixels += self._decoded[content][..., 0].size
            except ValueError as error:
                self._decoded[content] = str(error)
        found = self._decoded[content]
        if isinstance(found, str):
            raise ValueError(found)
        return found


def _wrap(sampler: dict, key: str) -> Wrap:
    code = integer(sampler, key, 10497)
    if code not in WRAPS:
        raise ValueError(f"{key} is {code}, expected one of {', '.join(map(str, WRAPS))}.")
    return WRAPS[code]


def _uv_matrix(transform: dict) -> Float[np.ndarray, "2 3"]:
    """Scale, then rotate, then move. Positive angles turn the coordinates counter-clockwise as seen with v down.

    Source: KHR_texture_transform, its words; the signs of its listing are those of v up (issue 1563 of glTF), and
    three.js, Babylon.js and Cesium follow the words.
    """
    angle_rad = number(transform, "rotation", 0.0)
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    (scale_u, scale_v), (offset_u, offset_v) = (
        numbers(transform, "scale", [1.0] * 2),
        numbers(transform, "offset", [0.0] * 2),
    )
    return np.array([[cosine * scale_u, sine * scale_v, offset_u], [-sine * scale_u, cosine * scale_v, offset_v]])
