"""Materials of COLLADA files.

Source: Khronos, COLLADA 1.4.1 specification, chapters 7 and 8: profile_COMMON, and "Determining transparency".
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from ast_jax.data.images import read_image
from ast_jax.shapes.mesh_files.beside import find_beside
from ast_jax.shapes.source_mesh import GREY, WHITE, Material

_WRAP = {"WRAP": "repeat", "MIRROR": "mirror", "CLAMP": "clamp", "BORDER": "clamp", "NONE": "clamp"}
_LUMINANCE = (0.212671, 0.715160, 0.072169)


class Effects:
    """Makes materials of what a file declares.

    Args:
      by_id: the elements of the file.
      path: the file.
      root: folder in which the textures that it names must lie; None: its own.
    """

    def __init__(self, by_id: dict[str, ElementTree.Element], path: Path, root: Path | None):
        self.by_id, self.path, self.root = by_id, path, root
        self.notices: list[str] = []
        self._made: dict[str, tuple[Material, str]] = {}
        self._images: dict[str, np.ndarray | None] = {}

    def material(self, target: str | None) -> tuple[Material, str]:
        """The material, grey where nothing is bound, and the name of the texture coordinates that its image wants."""
        key = (target or "").lstrip("#")
        if key not in self._made:
            self._made[key] = self._make(key)
        return self._made[key]

    def _make(self, key: str) -> tuple[Material, str]:
        material = self.by_id.get(key)
        instance = material.find("instance_effect") if material is not None else None
        effect = self.by_id.get(instance.get("url", "").lstrip("#")) if instance is not None else None
        technique = effect.find("profile_COMMON/technique") if effect is not None else None
        shader = (
            next((e for e in technique if e.tag in ("phong", "lambert", "blinn", "constant")), None)
            if (technique is not None)
            else None
        )
        if shader is None:
            self.notices.append(
                f"material {key!r} has no effect that can be read: grey" if key else "faces without a material: grey"
            )
            return Material(), ""
        source = shader.find("emission" if shader.tag == "constant" else "diffuse")
        light = shader.find("emission") if shader.tag != "constant" else None
        if light is not None and (light.find("texture") is not None or max(_colour(light)) > 0):
            self.notices.append(f"material {key!r}: the light that it emits is left out")
        opacity = self._opacity(key, shader)
        texture = source.find("texture") if source is not None else None
        if texture is not None:
            image, wrap = self._image(key, effect, texture.get("texture", ""))
            if image is not None:
                if shader.find("transparent/texture") is None:
                    image = image[..., :3]
                return Material(WHITE, image, opacity, wrap), texture.get("texcoord", "")
        if source is not None and texture is None and len((source.findtext("color") or "").split()) < 3:
            self.notices.append(f"material {key!r}: its colour cannot be read: grey")
        return Material(_colour(source), None, opacity), ""

    def _opacity(self, key: str, shader: ElementTree.Element) -> float:
        transparent, amount = shader.find("transparent"), shader.findtext("transparency/float")
        if transparent is None and amount is None:
            return 1.0
        mode = transparent.get("opaque", "A_ONE") if transparent is not None else "A_ONE"
        numbers = [float(w) for w in (shader.findtext("transparent/color") or "1 1 1 1").split()]
        red, green, blue, alpha = (*numbers, 1.0, 1.0, 1.0, 1.0)[:4]
        value = alpha if mode.startswith("A_") else float(np.dot(_LUMINANCE, (red, green, blue)))
        value *= float(amount) if amount is not None else 1.0
        opacity = min(max(1.0 - value if mode.endswith("ZERO") else value, 0.0), 1.0)
        if opacity == 0:  # as several exporters write what is opaque
            self.notices.append(f"material {key!r} would be invisible: read as opaque")
            return 1.0
        return opacity

    def _image(self, key: str, effect: ElementTree.Element, name: str) -> tuple[np.ndarray | None, tuple[str, str]]:
        """The image behind a texture: through sampler and surface, as 1.4 has it, or directly."""
        parameters = {p.get("sid"): p for p in effect.iter("newparam")}
        wrap = ("repeat", "repeat")
        for _ in range(3):
            parameter = parameters.get(name)
            if parameter is None:
                break
            sampler = parameter.find("sampler2D")
            if sampler is not None:
                wrap = tuple(_WRAP.get((sampler.findtext(w) or "WRAP").strip(), "repeat") for w in ("wrap_s", "wrap_t"))
                instance = sampler.find("instance_image")
                name = (
                    instance.get("url", "").lstrip("#")
                    if instance is not None
                    else sampler.findtext("source", "").strip()
                )
            else:
                name = parameter.findtext("surface/init_from", "").strip()
        image = self.by_id.get(name)
        where = (
            (image.findtext("init_from/ref") or image.findtext("init_from") or "").strip() if image is not None else ""
        )
        if not where:
            self.notices.append(f"material {key!r} names a texture {name!r} that the file does not have")
            return None, wrap
        if where not in self._images:
            self._images[where] = self._read(where)
        return self._images[where], wrap

    def _read(self, where: str) -> np.ndarray | None:
        name = unquote(where.removeprefix("file://"))
        found = find_beside(self.path, name, self.root)
        if found is None:
            self.notices.append(f"texture {name!r} is missing")
            return None
        try:
            return read_image(found, as_stored=True)
        except ValueError as error:
            self.notices.append(f"texture {name!r} cannot be read ({error})")
            return None


def _colour(source: ElementTree.Element | None) -> tuple[float, float, float]:
    words = (source.findtext("color") or "").split() if source is not None else []
    if len(words) < 3:
        return GREY
    red, green, blue = (min(max(float(np.nan_to_num(float(word))), 0.0), 1.0) for word in words[:3])
    return (red, green, blue)
