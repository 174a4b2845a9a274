"""A textured mesh as USDZ: one uncompressed archive with a layer of USD text and its texture."""

import io
import zipfile

import numpy as np

from ast_jax.export.textured_mesh import TexturedMesh, encode_png, smooth_normals

_ALIGNMENT = 64  # bytes at which each file of the archive has to begin, so that it can be mapped into memory
_LAYER, _TEXTURE = "mesh.usda", "texture.png"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first one of the format: the same mesh gives the same bytes
_PADDING_ID = 0x1986  # of an extra field that holds nothing


def encode_usdz(mesh: TexturedMesh, *, up: str = "y") -> bytes:
    """The mesh as the bytes of one USDZ file, one metre a unit of length.

    Args:
      mesh: to write.
      up: ``y`` or ``z``, the axis of the mesh that points up, which the file says.

    Source: Pixar, Usdz File Format Specification, version 1.3.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((_LAYER, _layer(mesh, up).encode()), (_TEXTURE, encode_png(mesh.image))):
            info = zipfile.ZipInfo(name, _DATE)
            # 30 bytes of header and 4 of the extra field itself come before the content, beside the name.
            missing = -(buffer.tell() + 34 + len(name)) % _ALIGNMENT
            info.extra = _PADDING_ID.to_bytes(2, "little") + missing.to_bytes(2, "little") + bytes(missing)
            archive.writestr(info, content)
    return buffer.getvalue()


def _layer(mesh: TexturedMesh, up: str) -> str:
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    return f"""#usda 1.0
(
    defaultPrim = "Object"
    metersPerUnit = 1
    upAxis = "{up.upper()}"
)

def Xform "Object" (
    kind = "component"
)
{{
    def Mesh "Mesh" (
        prepend apiSchemas = ["MaterialBindingAPI"]
    )
    {{
        uniform bool doubleSided = {int(not mesh.is_closed)}
        float3[] extent = {_tuples(np.stack([low, high]))}
        int[] faceVertexCounts = {_list(np.full(len(mesh.faces), 3))}
        int[] faceVertexIndices = {_list(mesh.faces.ravel())}
        rel material:binding = </Object/Material>
        normal3f[] normals = {_tuples(smooth_normals(mesh.vertices, mesh.faces))} (
            interpolation = "vertex"
        )
        point3f[] points = {_tuples(mesh.vertices)}
        texCoord2f[] primvars:st = {_tuples(mesh.uv)} (
            interpolation = "faceVarying"
        )
        int[] primvars:st:indices = {_list(mesh.uv_faces.ravel())}
        uniform token subdivisionScheme = "none"
    }}
{_MATERIAL}}}
"""


_MATERIAL = f"""
    def Material "Material"
    {{
        token outputs:surface.connect = </Object/Material/Surface.outputs:surface>

        def Shader "Surface"
        {{
            uniform token info:id = "UsdPreviewSurface"
            color3f inputs:diffuseColor.connect = </Object/Material/Texture.outputs:rgb>
            float inputs:metallic = 0
            float inputs:roughness = 1
            token outputs:surface
        }}

        def Shader "Texture"
        {{
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @{_TEXTURE}@
            token inputs:sourceColorSpace = "sRGB"
            float2 inputs:st.connect = </Object/Material/Coordinates.outputs:result>
            token inputs:wrapS = "clamp"
            token inputs:wrapT = "clamp"
            float3 outputs:rgb
        }}

        def Shader "Coordinates"
        {{
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }}
    }}
"""


def _list(numbers: np.ndarray) -> str:
    return f"[{', '.join(map(str, numbers.tolist()))}]"


def _tuples(rows: np.ndarray) -> str:
    return f"[{', '.join('(' + ', '.join(f'{x:.7g}' for x in row) + ')' for row in rows.tolist())}]"
