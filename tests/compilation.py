"""How tests compile: options of XLA, and the folders where it keeps what it has compiled. Asks for no jax."""

import os
import subprocess
import sys
import time
from pathlib import Path

# Tests compile much and compute little: LLVM would optimise for a third of their time, and XLA would cut each program
# into 32 for as many threads, which is a tenth to a fifth of the work; the workers keep all cores busy.
_ALWAYS = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
# XLA's older way to generate code, which takes a third less time; the product compiles its large programs so, too, see
# `ast_jax.compile_options`. XLA of jax 0.12 no longer has it.
_IF_KNOWN = "--xla_cpu_use_fusion_emitters=false"
# Bytes of one folder; the programs of all tests take a fifth of it.
_MOST_BYTES = 2**30
# Seconds after which nobody is still writing an entry.
_WRITTEN = 60


def environment() -> dict[str, str]:
    """Variables for jax, to be set before it is imported. Workers of pytest inherit those of the process that starts
    them.

    XLA_FLAGS=" " compiles as users do.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    cache = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", Path(__file__).parent.parent / ".jax_cache"))
    if worker is None:
        _share(cache)
    return {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS") or _quick_flags(),
        # A cache for each worker: jax writes entries in place, and one that is read while another process writes it may
        # crash.
        "JAX_COMPILATION_CACHE_DIR": str(cache.with_name(worker) if worker else cache / "main"),
        # Or else the name of the folder would be part of the names of all entries, for the sake of GPUs.
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
        # Everything: a process that a test starts, or a worker that had to forget, would compile hundreds of programs
        # anew.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"),
    }


def _quick_flags() -> str:
    """XLA_FLAGS for tests. A process ends at a flag that its XLA does not know, so another one is asked."""
    asked = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env=os.environ | {"XLA_FLAGS": _IF_KNOWN, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
    )
    return _ALWAYS if asked.returncode else f"{_ALWAYS} {_IF_KNOWN}"


def _share(cache: Path) -> None:
    """Gives each folder of a cache the programs of the others, and takes away the oldest beyond a size.

    The next run may give a worker other files to test. Not while an entry may still be written, by a run beside this
    one.
    """
    folders = [folder for folder in cache.glob("*") if folder.is_dir()]
    entries, before = {}, time.time() - _WRITTEN
    for path in (path for folder in folders for path in folder.glob("*-cache")):
        status = path.stat()
        if status.st_mtime < before:
            entries[path.name] = (status.st_mtime, status.st_size, path)
    total = 0
    for name, (_, size, path) in sorted(entries.items(), key=lambda entry: entry[1], reverse=True):
        total += size
        for copy in (folder / name for folder in folders):
            if total > _MOST_BYTES:
                copy.unlink(missing_ok=True)
            elif not copy.exists():
                os.link(path, copy)
