"""The process: hosts and devices, compilation cache, clear errors."""

import functools
import logging as std_logging
import os
import sys
import traceback
from pathlib import Path

import jax
from absl import logging

from ast_jax.files.writing import write_text
from ast_jax.process import cluster
from ast_jax.process.command_line import Main, in_one_line, run
from ast_jax.process.outcome import DONE_FILE, EXIT_CODE
from ast_jax.process.preemption import Preempted


def setup(
    *,
    cpu_devices: int = 0,
    coordinator: str = "",
    num_processes: int = 0,
    process_id: int = -1,
    expect_devices: int = 0,
    compilation_cache_dir: str = "",
    log_compiles: bool = False,
    debug_nans: bool = False,
) -> None:
    """Join the other processes of the run, name the devices, refuse what was not expected.

    Args:
      cpu_devices: on a machine without accelerator, split the CPU into so many devices; the batch is shared out
        over them. 0 takes jax's default of one.
      coordinator: host:port of process 0; with ``num_processes`` and ``process_id``, or none of the three: then the
        cluster tells, see `cluster.initialize`.
      num_processes: of the run; 1 alone: only this one.
      process_id: of this process, from 0.
      expect_devices: of all processes together; 0 takes what is there.
      compilation_cache_dir: keeps compiled programs between runs; "" is ``~/.cache/ast-jax/xla``, "none" keeps nothing.
      log_compiles: say what is compiled, and when.
      debug_nans: stop at the operation that first gives a NaN; slow.

    Raises:
      ValueError: the flags do not fit, or there are other devices or processes than expected.
      RuntimeError: the other processes could not be joined.
    """
    logging.get_absl_handler().addFilter(_is_worth_reading)
    if cpu_devices:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    _set_compilation_cache(compilation_cache_dir)
    # jax gives its options as attributes that no type declares.
    jax.config.update("jax_log_compiles", log_compiles or jax.config.jax_log_compiles)  # ty: ignore[missing-attribute]
    jax.config.update("jax_debug_nans", debug_nans or jax.config.jax_debug_nans)  # ty: ignore[missing-attribute]
    processes = cluster.initialize(coordinator, num_processes, process_id)
    logging.info("%s", describe_devices())
    _check_expected(processes, expect_devices)
    # The same line from every host says nothing new; warnings and errors may be of one host alone.
    if jax.process_index() and logging.get_verbosity() == logging.INFO:
        logging.set_verbosity(logging.WARNING)


def describe_devices() -> str:
    """``process 0/2: 4 local devices, 8 global devices x NVIDIA H100``."""
    kinds = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    return (
        f"process {jax.process_index()}/{jax.process_count()}: {jax.local_device_count()} local devices, "
        f"{jax.device_count()} global devices x {kinds}"
    )


def _check_expected(processes: int, devices: int) -> None:
    if processes and processes != jax.process_count():
        raise ValueError(
            f"{processes} processes were started, but jax knows {jax.process_count()}: jax.distributed was started "
            "before, with other numbers, or only in some of them."
        )
    if devices and devices != jax.device_count():
        raise ValueError(
            f"--expect_devices={devices}, but there are {jax.device_count()} ({describe_devices()}). Check that every "
            "process runs, that each sees all of its devices (CUDA_VISIBLE_DEVICES, JAX_LOCAL_DEVICE_IDS, "
            "JAX_PLATFORMS, --cpu_devices), and that jax is installed for them."
        )


def _set_compilation_cache(folder: str) -> None:
    if folder == "none":
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if not folder and jax.config.jax_compilation_cache_dir:  # ty: ignore[missing-attribute]
        return  # set by the environment, threshold and all
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ast-jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder) or str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _is_worth_reading(record: std_logging.LogRecord) -> bool:
    """Orbax tells every step of every save at INFO, jax every backend that this machine lacks and whom it calls.

    Orbax also logs the traceback of an error of a background save, which is raised again in the main thread.
    """
    is_theirs = any(name in record.pathname for name in ("orbax", "xla_bridge", "jax/_src/distributed"))
    return not is_theirs or (record.levelno >= std_logging.WARNING and not record.exc_info)


def mark_done(workdir: str | Path, steps: int) -> None:
    """Write `DONE_FILE`, for `launch.sweep` and for people; of many processes the first does."""
    if jax.process_index() == 0:
        write_text(Path(workdir) / DONE_FILE, f"{steps}\n")


def run_main(main: Main) -> None:
    """Run a launch script that uses devices, as `command_line.run` does.

    A run that was asked to stop by a signal, and has saved, ends with exit code 42. An error in one of many processes
    ends it at once.
    """

    def preemptible(argv: list[str]) -> None:
        try:
            main(argv)
        except Preempted as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(EXIT_CODE)

    @functools.wraps(main)
    def among_others(argv: list[str]) -> None:
        try:
            in_one_line(preemptible, argv)
        except BaseException as error:
            if jax.distributed.is_initialized() and getattr(error, "code", 1) not in (None, 0, EXIT_CODE):
                _end_at_once(error)
            raise

    run(among_others)


def _end_at_once(error: BaseException) -> None:
    """Leave without jax's farewell, which waits five minutes for the others, who wait for this process.

    They notice and end, too: at once where this was process 0, else when jax has missed its heartbeats for 100 s.
    """
    code = getattr(error, "code", None)
    if isinstance(error, SystemExit):
        print(code, file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
