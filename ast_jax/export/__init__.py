"""Results as files that anyone can open: meshes, turntables, one HTML page."""

from ast_jax.export.bake import BakedTexture, bake_texture
from ast_jax.export.camera_file import camera_json
from ast_jax.export.gltf import bake_atlas, encode_glb, write_glb
from ast_jax.export.join import join_glb
from ast_jax.export.mesh_formats import MESH_FORMATS, encode_mesh
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
from ast_jax.export.textured_mesh import TexturedMesh, encode_png, textured_mesh
from ast_jax.export.turntable import draw_views, encode_gif, render_turntable, write_gif
from ast_jax.export.unwrap import Unwrapped, unwrap

__all__ = [
    "MESH_FORMATS",
    "BakedTexture",
    "Curves",
    "Gallery",
    "Headline",
    "ObjectRow",
    "Pictures",
    "Table",
    "Text",
    "TexturedMesh",
    "Unwrapped",
    "bake_atlas",
    "bake_texture",
    "camera_json",
    "draw_views",
    "encode_gif",
    "encode_glb",
    "encode_mesh",
    "encode_png",
    "join_glb",
    "render_turntable",
    "report_page",
    "textured_mesh",
    "unwrap",
    "write_gif",
    "write_glb",
    "write_report",
]
