"""The table of backends and of what each of them can blend: a new backend is a file and a line here."""

import contextlib
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import NamedTuple

from jaxtyping import Float

from render import backend_dense, backend_nvdiffrast, backend_xla
from render.arrays import Array, check_choice
from render.blending import RULES, hard, nvdiffrast
from render.coverage import coverage_of_screen
from render.fragments import Fragments
from render.scene import Rule, Scene


class Backend(NamedTuple):
    """What a backend gives.

    Attributes:
        rasterize: the work of `render.rasterize`, with the same arguments except `backend`, all of them given and
            checked; a ValueError for what it cannot do.
        nearest: `(scene) -> fragments`, the nearest faces of a scene, with which a picture begins.
        rules: the blending rules by name.
        soft_coverage: of faces on the screen, see `render.coverage.coverage_of_screen`; None where it has none.
    """

    rasterize: Callable[..., Fragments]
    nearest: Callable[[Scene], Fragments]
    rules: dict[str, Rule]
    soft_coverage: Callable[..., Float[Array, "b h w"]] | None = None


BACKENDS = {
    "xla": Backend(backend_xla.rasterize, backend_xla.nearest, RULES, coverage_of_screen),
    # The other rules walk the work list, which is what this one does without.
    "dense": Backend(backend_dense.rasterize, backend_dense.nearest, {}, backend_dense.coverage_of_screen),
    # The other rules look at all faces near a pixel, of which nvdiffrast finds the nearest only.
    "nvdiffrast": Backend(
        backend_nvdiffrast.rasterize,
        backend_nvdiffrast.nearest,
        {"hard": hard.blend, "antialias": nvdiffrast.blend},
    ),
}


_default: ContextVar[str] = ContextVar("backend", default="xla")


@contextlib.contextmanager
def draw_with(backend: str) -> Generator[None]:
    """What is called or traced in here, and names no backend, is drawn by this one.

    A function compiled before keeps the backend that it was traced with: compile another inside.

    Args:
        backend: a name in `render.backends`.

    Raises:
        ValueError: there is none of that name.
    """
    check_choice("backend", backend, BACKENDS)
    token = _default.set(backend)
    try:
        yield
    finally:
        _default.reset(token)


def default_backend() -> str:
    """The name that `draw_with` gave; "xla" outside of it."""
    return _default.get()


def find_backend(name: str | None) -> Backend:
    """A backend by its name, None for the default one; a ValueError when there is none of that name."""
    name = default_backend() if name is None else name
    check_choice("backend", name, BACKENDS)
    return BACKENDS[name]


def find_soft_coverage(name: str | None) -> Callable[..., Float[Array, "b h w"]]:
    """How a backend draws soft silhouettes; a ValueError when it does not, or there is none of that name."""
    found = find_backend(name).soft_coverage
    if found is None:
        able = [f'"{key}"' for key, backend in BACKENDS.items() if backend.soft_coverage is not None]
        raise ValueError(f'backend="{name or default_backend()}" draws no soft silhouettes; {" and ".join(able)} do')
    return found


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
