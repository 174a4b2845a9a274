"""Wrong arguments get a ValueError that names them, not an error from within jax, nor a wrong picture."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from render import (
    CornerColours,
    DirectionalLight,
    FaceTexels,
    Fragments,
    Mesh,
    PhongLight,
    SphericalHarmonicsLight,
    UVImage,
    VertexColours,
    WeakPerspectiveCamera,
    bake_texels,
    barycentric_footprint,
    edge_face_pairs,
    face_normals,
    from_cmr,
    from_dvr,
    from_kaolin,
    from_opencv,
    from_opengl,
    from_pytorch3d,
    from_softras,
    gather_corners,
    icosphere,
    interpolate,
    lambert_coefficients,
    look_at,
    orbit,
    quaternion_to_rotation,
    rasterize,
    render,
    sample_face_texels,
    sample_texture,
    sample_uv,
    shade,
    shade_texture,
    soft_coverage,
    unique_edges,
    vertex_normals,
)

# The type checks of the tests would be the first to object.
pytestmark = pytest.mark.usefixtures("unchecked")

NAN, INF = float("nan"), float("inf")
FACES, SIZE = icosphere(0)[1], (4, 5)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def cameras(batch):
    return orbit(np.full(batch, 2.5), 0.2, 0.3, 0.5)


POINTS, CAMERA = ones(2, 12, 3), cameras(2)
CLIP, NORMALS, BATCHED = ones(2, 12, 4), ones(2, 20, 3, 3), np.stack([FACES, FACES])
COLOURS, IMAGE = VertexColours(POINTS), UVImage(ones(2, 8, 8, 3), ones(20, 3, 2))
SUN = DirectionalLight(ones(2, 3), ones(2, 3), ones(2, 3))
GLOSSY = PhongLight(*[ones(2, 3)] * 4, ones(2))
FRAGMENTS = Fragments(np.zeros((2, 4, 5), np.int32), ones(2, 4, 5, 3), ones(2, 4, 5))
BAD_FRAGMENTS = [
    None,
    FRAGMENTS.face_id,
    FRAGMENTS._replace(barycentric=ones(2, 4, 5, 2)),
    FRAGMENTS._replace(depth=ones(2, 4)),
    FRAGMENTS._replace(face_id=ones(2, 4, 5)),
]
UV = ones(2, 4, 5, 2)
replace = dataclasses.replace


def check(function, words, *arguments, **options):
    __tracebackhide__ = True
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(lambda: function(*arguments, **options))


def renders():
    """Words of the message, and changed arguments that deserve it."""
    return [
        ("sigma", [dict(sigma=value) for value in (0.0, -1.0, NAN, INF, None, "1", ones(2), ones(1))]),
        ("gamma", [dict(gamma=value) for value in (0.0, -1.0, NAN, INF, None, ones(3))]),
        ("cutoff", [dict(cutoff=value, blending="antialias") for value in (0.0, 0.5, NAN, None, ones(2))]),
        ("falloff", [dict(falloff="gauss")]),
        ("layers", [dict(layers=value) for value in (0, -1, 1.5, True, "2")]),
        ("image_size", [dict(image_size=s) for s in (4, (4,), (4, 5, 3), (0, 5), (-4, 5), (4.0, 5.0), "45", (NAN, 5))]),
        ("background", [dict(background=ones(*shape)) for shape in ((4,), (4, 5, 3), (2, 5, 4, 3), (2, 4, 5, 4))]),
        ("background", [dict(background=value) for value in (1.0, None, ones(2, 4, 5, 3, dtype=np.uint8))]),
        ("blending", [dict(blending="layred"), dict(blending=None)]),
        ("backend", [dict(backend="cuda")]),
        ("shading", [dict(shading="gouraud")]),
        ("cull_backfaces", [dict(cull_backfaces=ones(2, dtype=bool)), dict(cull_backfaces="no")]),
        ("texture", [dict(texture=value) for value in (None, POINTS)]),
        ("texture values", [dict(texture=VertexColours(ones(*s))) for s in ((1, 12, 3), (2, 11, 3), (2, 12, 4))]),
        ("texture values", [dict(texture=CornerColours(ones(*s))) for s in ((3, 20, 3, 3), (2, 19, 3, 3))]),
        ("texture values", [dict(texture=FaceTexels(ones(*s))) for s in ((2, 20, 2, 3, 3), (2, 20, 0, 0, 3))]),
        ("texture values", [dict(texture=VertexColours(ones(2, 12, 3, dtype=np.uint8)))]),
        ("bake_texels", [dict(texture=IMAGE)]),
        ("light direction", [dict(light=DirectionalLight(*[ones(*s)] * 3)) for s in ((3, 3), (1, 3), (2, 4), (3,))]),
        ("light direction", [dict(light=DirectionalLight(*[ones(2, 3, dtype=int)] * 3))]),
        ("light coefficients", [dict(light=SphericalHarmonicsLight(ones(2, 4, 3)))]),
        ("light shininess", [dict(light=replace(GLOSSY, shininess=ones(2, 1)))]),
        ("light", [dict(light="sun")]),
        ("camera.rotation", [dict(camera=cameras(batch)) for batch in (1, 3, (), (2, 3))]),
        ("camera.rotation", [dict(camera=replace(CAMERA, rotation=ones(2, 3, 3, dtype=int)))]),
        ("camera.translation", [dict(camera=replace(CAMERA, translation=ones(2, 4)))]),
        ("camera.focal", [dict(camera=replace(CAMERA, focal=ones(*s))) for s in ((1, 2), (2, 3))]),
        ("camera.near", [dict(camera=replace(CAMERA, near=n, far=f)) for n, f in ((1.0, 1.0), (2.0, 1.0), (0.1, INF))]),
        ("camera.quaternion", [dict(camera=WeakPerspectiveCamera(ones(2), ones(2, 2), ones(2, 3)))]),
        ("camera", [dict(camera=None)]),
        ("mesh", [dict(mesh=None), dict(mesh=POINTS)]),
    ]


def test_render():
    for words, change in ((words, change) for words, changes in renders() for change in changes):
        options = dict(mesh=Mesh(POINTS, FACES), camera=CAMERA, image_size=SIZE, texture=COLOURS) | change
        check(render, words, options.pop("mesh"), options.pop("camera"), options.pop("image_size"), **options)


def images():
    """Words of the message, and textures."""
    return [
        ("wrap", [replace(IMAGE, wrap="mirror")]),
        ("max_level", [replace(IMAGE, max_level=level) for level in (-1, 1.5)]),
        ("texture image", [replace(IMAGE, image=ones(*shape)) for shape in ((3, 8, 8, 3), (2, 8, 8, 4), (2, 0, 8, 3))]),
        ("texture image", [replace(IMAGE, image=ones(2, 8, 8, 3, dtype=np.uint8))]),
        ("texture uv", [replace(IMAGE, uv=ones(*shape)) for shape in ((19, 3, 2), (20, 3, 3), (3, 20, 3, 2))]),
    ]


def test_render_of_an_image():
    for words, texture in ((words, texture) for words, textures in images() for texture in textures):
        check(render, words, Mesh(POINTS, FACES), CAMERA, SIZE, texture=texture, blending="hard")
        check(sample_texture, words, texture, FACES, FRAGMENTS, ones(2, 4, 5, 3, 2))


def meshes():
    """Words of the message, and arguments."""
    return [
        ("vertices", [(points, FACES) for points in (POINTS[0], CLIP, ones(2, 12, 3, dtype=int), [[0.0]])]),
        ("numpy", [(POINTS, jnp.asarray(FACES)), (POINTS, FACES.tolist())]),
        ("faces", [(POINTS, faces) for faces in (FACES + 1, FACES - 1, FACES.astype(float), ones(3, 4, dtype=int))]),
        ("faces", [(POINTS, faces) for faces in (BATCHED[:1], BATCHED + 1, BATCHED[..., :2], 0.0 + BATCHED)]),
        ("face_mask", [(POINTS, FACES, ones(2, 20, dtype=bool))]),
        ("face_mask", [(POINTS, BATCHED, ones(2, 20, dtype=kind)) for kind in (int, float)]),
        ("face_mask", [(POINTS, BATCHED, ones(*shape, dtype=bool)) for shape in ((2, 19), (20,))]),
    ]


def test_mesh():
    for words, arguments in ((words, mesh) for words, changes in meshes() for mesh in changes):
        check(Mesh, words, *arguments)


def rasters():
    """Words of the message, and changed arguments."""
    return [
        ("vertices_clip", [dict(clip=clip) for clip in (POINTS, CLIP[0], CLIP.astype(int), [[0.0]])]),
        ("faces", [dict(faces=f) for f in (FACES + 1, FACES.astype(float), ones(3, 20, 3, dtype=int), [[0, 1, 2]])]),
        ("image_size", [dict(size=size) for size in (4, (4.5, 5), (0, 4), "45")]),
        ("face_mask", [dict(face_mask=ones(2, 20)), dict(face_mask=ones(2, 20, dtype=int))]),
        ("face_mask", [dict(face_mask=ones(20, dtype=bool)), dict(face_mask=[True] * 20)]),
        ("cull_backfaces", [dict(cull_backfaces="no")]),
    ]


def test_rasterize_and_soft_coverage():
    for words, change in ((words, change) for words, changes in rasters() for change in changes):
        options = dict(clip=CLIP, faces=FACES, size=SIZE) | change
        arguments = options.pop("clip"), options.pop("faces"), options.pop("size")
        check(rasterize, words, *arguments, **options)
        check(soft_coverage, words, *arguments, 1e-3, **options)


LOOKUP, SHADE = ones(2, 4, 5, 4), ones(2, 7, 3)


def others():
    """Functions, words of the message, and lists of arguments."""
    return [
        (soft_coverage, "sigma", [(CLIP, FACES, SIZE, s) for s in (0.0, -1.0, NAN, INF, None, ones(2), ones(1))]),
        (lambda depth: rasterize(CLIP, FACES, SIZE, vertex_depth=depth), "vertex_depth",
         [(ones(2, 11),), (ones(2, 12, 1),), (ones(1, 12),), (ones(2, 12, dtype=int),)]),
        (lambda layers: rasterize(CLIP, FACES, SIZE, layers=layers), "layers", [(0,), (1.5,), ("2",), (NAN,)]),
        (lambda rule: rasterize(CLIP, FACES, SIZE, edge_rule=rule), "edge_rule", [("top-left",)]),
        (interpolate, "attributes",
         [(FRAGMENTS, ones(*shape), FACES) for shape in ((12, 4), (3, 12, 4), (1, 12, 4), (2, 20, 4, 4))]),
        (interpolate, "attributes", [(FRAGMENTS, ones(1, 20, 3, 4))]),
        (interpolate, "attributes", [(FRAGMENTS, ones(2, 12, 4, dtype=int), FACES)]),
        (interpolate, "faces", [(FRAGMENTS, ones(2, 12, 4)), (FRAGMENTS, ones(2, 12, 4), FACES + 1)]),
        *((interpolate, "fragments", [(bad, ones(2, 12, 4), FACES)]) for bad in BAD_FRAGMENTS),
        *((sample_face_texels, "fragments", [(ones(2, 20, 2, 2, 3), bad)]) for bad in BAD_FRAGMENTS),
        *((sample_texture, "fragments", [(COLOURS, FACES, bad)]) for bad in BAD_FRAGMENTS),
        *((barycentric_footprint, "fragments", [(CLIP, FACES, bad)]) for bad in BAD_FRAGMENTS),
        (sample_face_texels, "texels",
         [(ones(*s, 3), FRAGMENTS) for s in ((3, 20, 2, 2), (1, 20, 2, 2), (2, 20, 2, 3), (2, 20, 0, 0), (2, 20))]),
        (sample_face_texels, "texels", [(ones(2, 20, 2, 2, 3, dtype=np.uint8), FRAGMENTS)]),
        (sample_texture, "texture",
         [(VertexColours(ones(3, 12, 3)), FACES, FRAGMENTS), (POINTS, FACES, FRAGMENTS),
          (CornerColours(ones(2, 19, 3, 3)), FACES, FRAGMENTS), (FaceTexels(ones(2, 19, 2, 2, 3)), FACES, FRAGMENTS)]),
        (sample_texture, "faces", [(VertexColours(ones(2, 11, 3)), FACES, FRAGMENTS)]),
        (sample_texture, "footprint", [(IMAGE, FACES, FRAGMENTS, ones(2, 3, 5, 3, 2))]),
        (sample_uv, "uv", [(LOOKUP, ones(2, 4, 5, 3)), (LOOKUP, ones(2)), (LOOKUP, ones(2, 4, 2, dtype=int))]),
        (sample_uv, "image", [(ones(3, 4, 5, 4), UV), (LOOKUP[0], UV), (LOOKUP[:, :0], UV), (LOOKUP.astype(int), UV)]),
        (lambda level: sample_uv(LOOKUP, UV, level=level), "level", [(ones(2, 4, 4),), (1.0,)]),
        (lambda most: sample_uv(LOOKUP, UV, max_level=most), "max_level", [(-1,), (1.5,)]),
        (bake_texels, "side", [(IMAGE, 0), (IMAGE, 1.5)]),
        (bake_texels, "texture", [(COLOURS, 2), (IMAGE, 2, 3), (replace(IMAGE, uv=ones(20, 3)), 2)]),
        (shade, "colour", [(SUN, SHADE[..., :2], SHADE), (SUN, SHADE.astype(int), SHADE)]),
        (shade, "normal", [(SUN, SHADE, SHADE[:, :4]), (SUN, SHADE, SHADE.astype(int))]),
        (shade, "to_viewer", [(GLOSSY, SHADE, SHADE), (GLOSSY, SHADE, SHADE, SHADE[:, :4])]),
        (shade, "light", [("sun", SHADE, SHADE), (SUN, ones(3, 7, 3), ones(3, 7, 3))]),
        (shade, "light coefficients", [(SphericalHarmonicsLight(ones(2, 4, 3)), SHADE, SHADE)]),
        (shade_texture, "corner_normals", [(SUN, COLOURS, FACES, NORMALS[:, :4])]),
        (shade_texture, "texture", [(SUN, IMAGE, FACES, NORMALS), (SUN, SHADE, FACES, NORMALS)]),
        (shade_texture, "faces", [(SUN, VertexColours(ones(2, 11, 3)), FACES, NORMALS)]),
        (shade_texture, "light", [("sun", COLOURS, FACES, NORMALS)]),
        (shade_texture, "to_viewer", [(GLOSSY, COLOURS, FACES, NORMALS)]),
        (lambert_coefficients, "radiance", [(ones(2, 4, 3),), (ones(9, 3),)]),
        (face_normals, "vertices", [(POINTS[0], FACES), (CLIP, FACES), (POINTS.astype(int), FACES)]),
        (vertex_normals, "vertices", [(POINTS[0], FACES), (CLIP, FACES), (POINTS.astype(int), FACES)]),
        (face_normals, "faces", [(POINTS, FACES + 1), (POINTS, FACES.astype(float)), (POINTS, BATCHED[:1])]),
        (vertex_normals, "faces", [(POINTS, FACES + 1), (POINTS, FACES.astype(float)), (POINTS, BATCHED[:1])]),
        (gather_corners, "faces", [(POINTS, FACES + 1), (POINTS, FACES[0]), (POINTS, BATCHED[:1])]),
        (gather_corners, "values", [(ones(12), FACES)]),
        (unique_edges, "faces", [(FACES.astype(float),), (ones(3, 4, dtype=int),), (BATCHED,)]),
        (edge_face_pairs, "faces", [(FACES.astype(float),), (ones(3, 4, dtype=int),), (BATCHED,)]),
        (icosphere, "level", [(-1,), (1.5,)]),
        (barycentric_footprint, "vertices_clip", [(c, FACES, FRAGMENTS) for c in (POINTS, CLIP[:1], CLIP.astype(int))]),
        (barycentric_footprint, "faces", [(CLIP, FACES + 1, FRAGMENTS)]),
        (quaternion_to_rotation, "quaternion", [(ones(2, 3),), (ones(2, 4, dtype=int),)]),
        (look_at, "eye", [(ones(2, 4), ones(2, 3), ones(2, 3)), (ones(2, 3, dtype=int), ones(2, 3), ones(2, 3))]),
        (look_at, "target", [(ones(2, 3), ones(3, 3), ones(2, 3))]),
        (look_at, "eye", [(None, ones(3), ones(3)), (1.0, ones(3), ones(3))]),
        (orbit, "distance.*elevation_rad", [(ones(2), ones(3), 0.0, 0.5), (ones(2, 1), ones(3, 2), 0.0, 0.5)]),
        (CAMERA.project, "points_world", [(CLIP,), (POINTS.astype(int),)]),
    ]  # fmt: skip


def conversions():
    """Functions, good arguments by name, and shapes that these must not have."""
    turn, shift, pair = np.eye(3, dtype=np.float32), ones(3), ones(2)
    bad = {(3, 3): ((4, 4), (3,)), (3,): ((4,), ()), (2,): ((3,), ()), (3, 1): ((3,), (2, 1)), (7,): ((6,), ())}
    view, frustum = np.eye(4, dtype=np.float32), np.diag([1.0, 1, 1, 0]).astype(np.float32)
    frustum[3, 2] = -1
    bad[4, 4] = ((3, 3), (4,))
    return [
        (from_opengl, dict(view=view, projection=frustum), {}, bad),
        (from_opencv, dict(intrinsics=turn, rotation=turn, translation=shift), dict(image_size=SIZE), bad),
        (from_pytorch3d, dict(rotation=turn, translation=shift, focal_length=pair, principal_point=pair),
         dict(image_size=SIZE), bad),
        (from_kaolin, dict(rotation=turn, position=shift, projection=ones(3, 1)), {}, bad),
        (from_dvr, dict(world_mat=view, camera_mat=view, scale_mat=view), {}, bad | {(4, 4): ((2, 2), (4,), (3, 5))}),
        (from_cmr, dict(camera=ones(7)), {}, bad),
    ]  # fmt: skip


def test_conversions():
    for function, arguments, options, bad in conversions():
        function(**arguments, **options)
        for name, value in arguments.items():
            for shape in bad[value.shape]:
                check(function, name, **(arguments | {name: ones(*shape)}), **options)
            others_of_two = {other: np.stack([array] * 2) for other, array in arguments.items() if other != name}
            if others_of_two:
                check(function, f"broadcast.*{name}", **others_of_two, **{name: np.stack([value] * 3)}, **options)
    check(from_softras, "distance.*azimuth_deg", ones(2), 0.0, ones(3))


def test_functions():
    for function, words, calls in others():
        for arguments in calls:
            check(function, words, *arguments)
