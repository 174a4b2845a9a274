"""The table of backends and of what each of them can blend: a new backend is a file and a line here."""

from collections.abc import Callable
from typing import NamedTuple

from render import backend_nvdiffrast, backend_xla
from render.arrays import check_choice
from render.blending import RULES, hard, nvdiffrast
from render.fragments import Fragments
from render.scene import Rule, Scene


class Backend(NamedTuple):
    """What a backend gives.

    Attributes:
        rasterize: the work of `render.rasterize`, with the same arguments except `backend`, all of them given and
            checked; a ValueError for what it cannot do.
        nearest: `(scene) -> fragments`, the nearest faces of a scene, with which a picture begins.
        rules: the blending rules by name.
    """

    rasterize: Callable[..., Fragments]
    nearest: Callable[[Scene], Fragments]
    rules: dict[str, Rule]


BACKENDS = {
    "xla": Backend(backend_xla.rasterize, backend_xla.nearest, RULES),
    # The other rules look at all faces near a pixel, of which nvdiffrast finds the nearest only.
    "nvdiffrast": Backend(
        backend_nvdiffrast.rasterize,
        backend_nvdiffrast.nearest,
        {"hard": hard.blend, "antialias": nvdiffrast.blend},
    ),
}


def find_backend(name: str) -> Backend:
    """A backend by its name; a ValueError when there is none of that name."""
    check_choice("backend", name, BACKENDS)
    return BACKENDS[name]


def find_rule(backend: str, blending: str | Rule) -> Rule:
    """How faces become pixels.

    Args:
        backend: name of a backend.
        blending: name of one of its rules, or a rule, which is returned as it is.

    Returns:
        The rule.

    Raises:
        ValueError: there is none of that name.
    """
    rules = find_backend(backend).rules
    if callable(blending):
        return blending
    check_choice("blending", blending, rules, f' with backend="{backend}"')
    return rules[blending]
