"""The config of an experiment: every key once, with its type, default, range and meaning; and what config files import.

Light: a config file is read on a login node, which has neither jax nor numpy.
"""

from ast_jax.config.check import check, complete, filled
from ast_jax.config.data import DataConfig
from ast_jax.config.data_sets import use_data_set
from ast_jax.config.experiment import ExperimentConfig, base_config, use_learned_steps
from ast_jax.config.find import find_config, shipped_configs
from ast_jax.config.model import ModelConfig
from ast_jax.config.optimizer import GROUPS
from ast_jax.config.variant import parse_arg

__all__ = [
    "GROUPS",
    "DataConfig",
    "ExperimentConfig",
    "ModelConfig",
    "base_config",
    "check",
    "complete",
    "filled",
    "find_config",
    "parse_arg",
    "shipped_configs",
    "use_data_set",
    "use_learned_steps",
]
