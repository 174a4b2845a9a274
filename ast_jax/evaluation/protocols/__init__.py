"""The protocols by the names that `launch.evaluate` knows; one file for each benchmark."""

from ast_jax.evaluation.protocols import cub, shapenet
from ast_jax.evaluation.protocols.base import Item, Protocol
from ast_jax.evaluation.protocols.freeshapes import freeshapes

PROTOCOLS: dict[str, Protocol] = {
    "cub_ast": cub.AST,
    "cub_cmr": cub.CMR,
    "cub_umr": cub.UMR,
    "cub_unicorn": cub.UNICORN,
    "freeshapes": freeshapes(num_views=0),
    "shapenet_nmr": shapenet.NMR,
    "shapenet_occnet": shapenet.occnet(),
    "shapenet_unicorn": shapenet.unicorn(),
}

__all__ = ["PROTOCOLS", "Item", "Protocol", "freeshapes"]
