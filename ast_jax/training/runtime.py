"""The process: devices, compilation cache, clear errors."""

import logging as std_logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, logging

from ast_jax.training.outcome import EXIT_CODE
from ast_jax.training.preemption import Preempted


def setup(*, cpu_devices: int = 0) -> jax.sharding.Mesh:
    """Prepare jax for a run and name the devices.

    Args:
      cpu_devices: on a machine without accelerator, split the CPU into so many devices; the batch is shared out
        over them. 0 takes jax's default of one.

    Returns:
      a mesh with the one axis ``data`` over all devices.
    """
    logging.get_absl_handler().addFilter(_is_worth_reading)
    if cpu_devices > 1:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    if not jax.config.jax_compilation_cache_dir:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ast-jax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    logging.info("devices: %d x %s", jax.device_count(), jax.devices()[0].device_kind)
    return mesh


def _is_worth_reading(record: std_logging.LogRecord) -> bool:
    """Orbax tells every step of every save at INFO, and jax every backend that this machine does not have.

    Orbax also logs the traceback of an error of a background save, which is raised again in the main thread.
    """
    is_theirs = "orbax" in record.pathname or "xla_bridge" in record.pathname
    return not is_theirs or (record.levelno >= std_logging.WARNING and not record.exc_info)


def run_main(main: Callable[[list[str]], None]) -> None:
    """Run a launch script: a wrong input ends with one line and exit code 1, not with a traceback.

    A run that was asked to stop by a signal, and has saved, ends with exit code 42.

    The environment variable ``AST_JAX_TRACEBACK=1`` brings the traceback back.
    """

    def guarded(argv: list[str]) -> None:
        try:
            main(argv)
        except Preempted as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(EXIT_CODE)
        except (ValueError, RuntimeError, OSError) as error:
            if os.environ.get("AST_JAX_TRACEBACK"):
                raise
            sys.exit(f"error: {error}")

    app.run(guarded)
