"""A differentiable mesh renderer in pure JAX, usable on its own: CPU, GPU and TPU, batched, nothing to
compile.

Conventions: world right-handed with +Y up; the camera looks down -Z; NDC x right and y up in [-1, 1];
images have row 0 at the top; face id -1 is background.
"""

from render.backends import draw_with
from render.camera import (
    Camera,
    OrthographicCamera,
    PerspectiveCamera,
    WeakPerspectiveCamera,
    look_at,
    orbit,
    quaternion_to_rotation,
)
from render.convert import (
    from_cmr,
    from_dvr,
    from_kaolin,
    from_opencv,
    from_opengl,
    from_pytorch3d,
    from_softras,
    to_cmr,
    to_dvr,
    to_kaolin,
    to_opencv,
    to_opengl,
    to_pytorch3d,
    to_softras,
)
from render.footprint import barycentric_footprint
from render.fragments import Fragments
from render.interpolate import interpolate
from render.light import (
    DirectionalLight,
    PhongLight,
    SphericalHarmonicsLight,
    clay,
    lambert_coefficients,
    shade,
    shade_texture,
)
from render.mesh import (
    Mesh,
    edge_face_pairs,
    face_normals,
    gather_corners,
    icosphere,
    unique_edges,
    vertex_normals,
)
from render.parallel import batch_parallel
from render.rasterize import rasterize
from render.render import Rendering, render
from render.soft_coverage import soft_coverage
from render.texture import (
    CornerColours,
    FaceTexels,
    UVImage,
    VertexColours,
    bake_texels,
    sample_face_texels,
    sample_texture,
)
from render.uv import sample_uv

__all__ = [
    "Camera",
    "CornerColours",
    "DirectionalLight",
    "FaceTexels",
    "Fragments",
    "Mesh",
    "OrthographicCamera",
    "PerspectiveCamera",
    "PhongLight",
    "Rendering",
    "SphericalHarmonicsLight",
    "UVImage",
    "VertexColours",
    "WeakPerspectiveCamera",
    "bake_texels",
    "barycentric_footprint",
    "batch_parallel",
    "clay",
    "draw_with",
    "edge_face_pairs",
    "face_normals",
    "from_cmr",
    "from_dvr",
    "from_kaolin",
    "from_opencv",
    "from_opengl",
    "from_pytorch3d",
    "from_softras",
    "gather_corners",
    "icosphere",
    "interpolate",
    "lambert_coefficients",
    "look_at",
    "orbit",
    "quaternion_to_rotation",
    "rasterize",
    "render",
    "sample_face_texels",
    "sample_texture",
    "sample_uv",
    "shade",
    "shade_texture",
    "soft_coverage",
    "to_cmr",
    "to_dvr",
    "to_kaolin",
    "to_opencv",
    "to_opengl",
    "to_pytorch3d",
    "to_softras",
    "unique_edges",
    "vertex_normals",
]
