import jax
import jaxtyping
import numpy as np
import pytest

from render import icosphere


@pytest.fixture
def float64():
    """Runs a test in double precision, so that rounding cannot hide an error."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def bumpy_meshes():
    """Two deformed icosahedra: vertices `[2, 12, 3]`, faces, generator for more of the same."""
    rng = np.random.default_rng(0)
    vertices, faces = icosphere(0)
    return 0.5 * vertices[None] + 0.06 * rng.normal(size=(2, *vertices.shape)), faces, rng


@pytest.fixture
def unchecked():
    """Lifts the type checks that tests add: where our own are tested, or arrays have one axis more for a while."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
