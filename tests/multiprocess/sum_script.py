"""What a launch script does at its start, then one sum over the devices of all processes."""

import jax
import numpy as np
from absl import logging

from ast_jax.process import flags as machine_flags
from ast_jax.process import runtime
from ast_jax.training.sharding import make_mesh


def main(argv: list[str]) -> None:
    """Prints the sum of process_index + 1 over all devices."""
    machine_flags.setup_from_flags()
    mesh = make_mesh((("data", -1),))
    logging.info("said by the first process alone")
    ours = np.full(jax.local_device_count(), jax.process_index() + 1, np.float32)
    everywhere = jax.make_array_from_process_local_data(jax.NamedSharding(mesh, jax.P("data")), ours)
    print(f"sum {float(jax.jit(lambda x: x.sum())(everywhere))}", flush=True)


if __name__ == "__main__":
    runtime.run_main(main)
