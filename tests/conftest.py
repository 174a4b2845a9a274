"""Every test sees 8 fake CPU devices, so that sharding is tested everywhere."""

import gc
import os
from pathlib import Path

from tests import compilation

os.environ.update(compilation.environment())
# Before numpy is loaded: its matrices here are small, and the threads of two workers wait for each other on two cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest
from absl import flags

MOST_MAPPINGS = 20_000

jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
jax.config.update("jax_num_cpu_devices", 8)
# Silent broadcasting over a missing batch axis is the commonest bug of batched numerics: make it an error.
jax.config.update("jax_numpy_rank_promotion", "raise")
flags.FLAGS.mark_as_parsed()  # grain reads an absl flag


def pytest_collection_modifyitems(items):
    """The longest files first, then the order of names: at the end of a run no worker waits minutes for the other."""
    items.sort(key=lambda item: item.path.parent.name != "training")


@pytest.fixture(scope="module", autouse=True)
def _few_mappings():
    """Forgets compiled programs in time: each is mapped into memory, and Linux ends a process at 65,530 mappings."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()
