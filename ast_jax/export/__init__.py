"""Results as files that anyone can open: meshes, turntables, one HTML page."""

from ast_jax.export.gltf import bake_atlas, encode_glb, write_glb, write_obj, write_ply
from ast_jax.export.join import join_glb
from ast_jax.export.report import (
    Curves,
    Gallery,
    Headline,
    ObjectRow,
    Pictures,
    Table,
    Text,
    report_page,
    write_report,
)
from ast_jax.export.turntable import draw_views, encode_gif, render_turntable, write_gif, write_mp4

__all__ = [
    "Curves",
    "Gallery",
    "Headline",
    "ObjectRow",
    "Pictures",
    "Table",
    "Text",
    "bake_atlas",
    "draw_views",
    "encode_gif",
    "encode_glb",
    "join_glb",
    "render_turntable",
    "report_page",
    "write_gif",
    "write_glb",
    "write_mp4",
    "write_obj",
    "write_ply",
    "write_report",
]
