"""Flags of every launch script that may run on many hosts."""

from absl import flags

from ast_jax.process import runtime

_CPU_DEVICES = flags.DEFINE_integer("cpu_devices", 0, "Split the CPU into so many devices; 0: one.", lower_bound=0)
_COORDINATOR = flags.DEFINE_string("coordinator", "", "Many processes by hand: host:port of process 0.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 0, "Many processes by hand: how many; 1 alone: this one, even in a cluster.", lower_bound=0
)
_PROCESS_ID = flags.DEFINE_integer("process_id", -1, "Many processes by hand: number of this one, from 0.")
_EXPECT_DEVICES = flags.DEFINE_integer(
    "expect_devices", 0, "Refuse to start unless all processes together have so many devices.", lower_bound=0
)
_COMPILATION_CACHE_DIR = flags.DEFINE_string(
    "compilation_cache_dir", "", "Keeps compiled programs; empty: ~/.cache/ast-jax/xla; none: nothing is kept."
)
_LOG_COMPILES = flags.DEFINE_bool("log_compiles", False, "Say what is compiled, and when.")
_DEBUG_NANS = flags.DEFINE_bool("debug_nans", False, "Stop at the operation that first gives a NaN; slow.")


def setup_from_flags() -> None:
    """`runtime.setup` as the command line wants it."""
    runtime.setup(
        cpu_devices=_CPU_DEVICES.value,
        coordinator=_COORDINATOR.value,
        num_processes=_NUM_PROCESSES.value,
        process_id=_PROCESS_ID.value,
        expect_devices=_EXPECT_DEVICES.value,
        compilation_cache_dir=_COMPILATION_CACHE_DIR.value,
        log_compiles=_LOG_COMPILES.value,
        debug_nans=_DEBUG_NANS.value,
    )
