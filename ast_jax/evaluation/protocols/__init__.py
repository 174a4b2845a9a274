"""The protocols by the names that `launch.evaluate` knows; one file for each benchmark."""

from ast_jax.evaluation.protocols import cub, cub_cmr, cub_umr, shapenet
from ast_jax.evaluation.protocols.base import Item, Protocol
from ast_jax.evaluation.protocols.freeshapes import freeshapes
from ast_jax.near_match import choose

PROTOCOLS: dict[str, Protocol] = {
    "cub_ast": cub.AST,
    "cub_cmr": cub_cmr.CMR,
    "cub_umr": cub_umr.UMR,
    "cub_unicorn": cub.UNICORN,
    "freeshapes": freeshapes(num_views=0),
    "shapenet_nmr": shapenet.NMR,
    "shapenet_occnet": shapenet.occnet(),
    "shapenet_unicorn": shapenet.unicorn(),
}

__all__ = ["PROTOCOLS", "Item", "Protocol", "find_protocol", "freeshapes"]


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
      ValueError: there is none.
    """
    return PROTOCOLS[choose("--protocol", name, PROTOCOLS)]
