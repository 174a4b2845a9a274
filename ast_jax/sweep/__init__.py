"""Many runs of one experiment: units out of a config file, run here or by a scheduler, and their table.

Nothing in this package imports jax: the login node of a cluster runs it.
"""

from ast_jax.sweep.local import run_local
from ast_jax.sweep.start import BACKENDS, start
from ast_jax.sweep.table import write_table
from ast_jax.sweep.units import Sweep, Unit, make_sweep, read_sweep, save_sweep

__all__ = ["BACKENDS", "Sweep", "Unit", "make_sweep", "read_sweep", "run_local", "save_sweep", "start", "write_table"]
