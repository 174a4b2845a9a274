"""Materials of Wavefront OBJ files: MTL libraries and their textures.

Source: Wavefront, Alias MTL Material Format, http://paulbourke.net/dataformats/mtl/. One rule is that of practice:
an image replaces Kd, for many exporters write it beside a black one.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ast_jax.data.images import read_image
from ast_jax.shapes.mesh_files.beside import find_beside
from ast_jax.shapes.mesh_files.polygon_mesh import decode_text
from ast_jax.shapes.source_mesh import GREY, WHITE, Material

# Options of a texture; those of ``_NUMBERS_OF`` are followed by up to so many numbers, the others by one word.
_OPTION = re.compile(r"-(blendu|blendv|bm|boost|cc|clamp|imfchan|mm|o|s|t|texres|type)\s+", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?=\s)\s*")
_NUMBERS_OF = {"mm": 2, "o": 3, "s": 3, "t": 3}


@dataclass(frozen=True)
class Appearance:
    """A material as shown.

    Args:
      shown: with its image.
      flat: without it, for faces that have no texture coordinates.
      scale, offset: how the image lies on the surface: (u, v) -> scale * (u, v) + offset.
    """

    shown: Material
    flat: Material
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass
class MaterialReader:
    """Reads the libraries of one OBJ file, and makes materials of their entries.

    Args:
      path: the OBJ file.
      root: folder in which all files that it names must lie; None: the file's own.
      notices: what is missing or left out, filled while it reads.
    """

    path: Path
    root: Path | None = None
    notices: list[str] = field(default_factory=list)
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    _images: dict[Path, np.ndarray | None] = field(default_factory=dict)

    def add_libraries(self, names: str) -> None:
        """Read what one ``mtllib`` line names: one file with spaces in its name, or several."""
        words = names.split()
        while words:
            for count in range(len(words), 0, -1):
                found = find_beside(self.path, " ".join(words[:count]), self.root)
                if found is not None:
                    self._read_library(found)
                    break
            else:
                self.notices.append(f"material library {words[0]!r} is missing")
                count = 1
            words = words[count:]

    def _read_library(self, path: Path) -> None:
        try:
            text = decode_text(path.read_bytes(), path.name)
        except (OSError, ValueError) as error:
            self.notices.append(f"material library {path.name!r} cannot be read ({error})")
            return
        current: dict[str, str] = {}
        for line in text.split("\n"):
            key, _, rest = line.strip().replace("\t", " ").partition(" ")
            if key.lower() == "newmtl":  # of two with one name the first counts
                current = {}
                self.entries.setdefault(rest.strip(), current)
            elif key and not key.startswith("#"):
                current[key.lower()] = rest.strip()

    def material(self, name: str) -> Appearance:
        """The material of this name; grey, with a notice, where there is none."""
        entry = self.entries.get(name)
        if entry is None:
            entry = next((e for n, e in self.entries.items() if _folded(n) == _folded(name)), None)
        if entry is None:
            self.notices.append(f"material {name!r} is in no library: grey")
            return Appearance(Material(), Material())
        image, options = self._texture(name, entry.get("map_kd", ""))
        mask, _ = self._texture(name, entry.get("map_d", ""))
        colour = self._colour(name, entry.get("kd", ""))
        if image is None and "map_ka" in entry and "map_kd" not in entry:
            self.notices.append(f"material {name!r}: map_Ka without map_Kd is left out")
        if "map_ke" in entry or any(word.strip("+-0.") for word in entry.get("ke", "").split("#")[0].split()):
            self.notices.append(f"material {name!r}: the light that it emits (Ke) is left out")
        flat = Material(colour, None, _opacity(entry))
        image = image[..., :3] if image is not None else None
        if mask is not None:
            image = _with_alpha(image, colour, mask)
        wrap = "clamp" if options.get("clamp") == "on" else "repeat"
        shown = flat if image is None else replace(flat, colour=WHITE, image=image, wrap=(wrap, wrap))
        return Appearance(shown, flat, _pair(options.get("s", ()), 1.0), _pair(options.get("o", ()), 0.0))

    def _colour(self, name: str, text: str) -> tuple[float, float, float]:
        if not text:
            return GREY
        try:
            numbers = [float(word) for word in text.split("#")[0].split()[:3]]
        except ValueError:  # spectral, xyz
            numbers = []
        if not numbers or not np.isfinite(numbers).all():
            self.notices.append(f"material {name!r}: 'Kd {text}' is not a colour: grey")
            return GREY
        if len(numbers) == 2:  # one number alone is a grey, says the format
            self.notices.append(f"material {name!r}: 'Kd {text}' lacks a number: the first stands for all three")
        red, green, blue = numbers if len(numbers) == 3 else [numbers[0]] * 3
        if max(red, green, blue) > 2:
            self.notices.append(f"material {name!r}: 'Kd {text}' is read as a colour from 0 to 255")
            red, green, blue = red / 255, green / 255, blue / 255
        return tuple(min(max(value, 0.0), 1.0) for value in (red, green, blue))

    def _texture(self, material: str, text: str) -> tuple[np.ndarray | None, dict]:
        """The image, None where there is none or it cannot be had, and the options that stand before its name."""
        if not text:
            return None, {}
        options, name = parse_texture(text)
        for option in {"t", "imfchan"} & set(options):
            self.notices.append(f"material {material!r}: texture option -{option} is left out")
        found = find_beside(self.path, name, self.root)
        if found is None:
            self.notices.append(f"texture {name!r} of material {material!r} is missing")
            return None, options
        if found not in self._images:
            try:
                self._images[found] = read_image(found, as_stored=True)
            except ValueError as error:
                self._images[found] = None
                self.notices.append(f"texture {name!r} of material {material!r} cannot be read ({error})")
        image = self._images[found]
        if image is not None and "mm" in options:
            base, gain = _pair(options["mm"], 1.0)
            image = np.clip(np.round(255 * base + gain * image.astype(np.float32)), 0, 255).astype(np.uint8)
        return image, options


def parse_texture(text: str) -> tuple[dict, str]:
    """Options and file name of a texture statement, ``-s 2 2 -clamp on my picture.png``.

    Returns:
      option -> its numbers, or its word; and the name, spaces and all.
    """
    options: dict = {}
    rest = text
    while match := _OPTION.match(rest):
        key, rest = match[1].lower(), rest[match.end() :]
        if key in _NUMBERS_OF:
            numbers = []
            while len(numbers) < _NUMBERS_OF[key] and (number := _NUMBER.match(rest)):
                numbers.append(float(number[0].strip()))  # regular expressions know more blanks than float
                rest = rest[number.end() :]
            options[key] = tuple(numbers)
        else:
            word, _, rest = rest.partition(" ")
            options[key], rest = word.lower(), rest.lstrip()
    return options, rest.strip()


def _folded(name: str) -> str:
    """A name in any case, without quotation marks or a comment behind it, whatever its blanks are."""
    return " ".join(re.split(r"\s#", name)[0].strip().strip("\"'").split()).casefold()


def _pair(numbers: tuple[float, ...], default: float) -> tuple[float, float]:
    first, second = (*numbers, default, default)[:2]
    return first, second


def _opacity(entry: dict[str, str]) -> float:
    """``d`` is opacity, ``Tr`` its complement; ``d`` wins."""
    for key, sign, offset in (("d", 1.0, 0.0), ("tr", -1.0, 1.0)):
        try:
            value = offset + sign * float(entry[key].split("#")[0].split()[-1])  # d -halo factor
        except (KeyError, ValueError, IndexError):
            continue
        if np.isfinite(value):
            return min(max(value, 0.0), 1.0)
    return 1.0


def _with_alpha(image: np.ndarray | None, colour: tuple[float, float, float], mask: np.ndarray) -> np.ndarray:
    """RGBA; the mask is the alpha of its file, or its brightness where that has none."""
    if mask.shape[-1] == 4:
        alpha = mask[..., 3]
    else:
        alpha = np.asarray(Image.fromarray(mask).convert("L"))
    if image is None:
        image = np.broadcast_to(np.round(np.multiply(colour, 255)).astype(np.uint8), (*alpha.shape, 3))
    if image.shape[:2] != alpha.shape:
        size = (image.shape[1], image.shape[0])
        alpha = np.asarray(Image.fromarray(np.ascontiguousarray(alpha)).resize(size, Image.Resampling.BILINEAR))
    return np.concatenate([image[..., :3], alpha[..., None]], axis=-1)
