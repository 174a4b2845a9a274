"""What every camera branch answers."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float

from ast_jax.arrays import Array
from render import Camera


class CameraOutput(NamedTuple):
    """Candidates [b, k] with their logits, and the camera [b] of the picture itself; None for what is not predicted."""

    candidates: Camera | None = None
    logits: Float[Array, "b k"] | None = None
    seen: Camera | None = None


@runtime_checkable
class CameraBranch(Protocol):
    """A module that answers the summary of a picture; ``sees``: with the camera of that picture, too."""

    @property
    def sees(self) -> bool: ...

    def __call__(self, summary: Float[Array, "b d"]) -> CameraOutput: ...
