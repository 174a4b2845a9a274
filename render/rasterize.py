"""Hard rasterization: the nearest faces of each pixel, with perspective-correct barycentrics."""

from jaxtyping import Bool, Float, Int

from render.arrays import Array, check_choice, check_cull_backfaces, check_layers, static_size, to_float
from render.backends import find_backend
from render.fragments import Fragments
from render.screen import check_scene
from render.zbuffer import EdgeRule


def rasterize(
    vertices_clip: Float[Array, "b v 4"],
    faces: Int[Array, "f 3"] | Int[Array, "b f 3"],
    image_size: tuple[int, int],
    *,
    layers: int | None = None,
    face_mask: Bool[Array, "b f"] | None = None,
    vertex_depth: Float[Array, "b v"] | None = None,
    edge_rule: EdgeRule = "inclusive",
    cull_backfaces: bool = False,
    backend: str | None = None,
) -> Fragments:
    """Z-buffer by edge functions, without clipping.

    With corners on the screen, also those behind the camera, and a pixel centre moved to the origin,
    `a_i = x_j y_k - x_k y_j` for (i, j, k) cyclic, and `e_i = a_i / w_i`. The pixel sees the face where all
    `e_i a >= 0` with `a = sum_i a_i != 0`; barycentrics are `e_i / sum e` and the depth is their mean of the
    depths of the corners, for perspective cameras `1 / interpolated(1 / w)`. This stays right for faces that
    pass through the plane of the camera, of which only the part in front is seen. There is no near and no far
    plane. Two faces that meet at an edge have opposite `a_i` there, bit for bit: a pixel centre between them is
    in one of them at least ("inclusive"), in one at most ("strict"). Where depths are equal the face of the
    lower index comes first. Barycentrics and depth carry gradients to the vertices, the choice of the face
    does not.

    Args:
        vertices_clip: clip space.
        faces: triangle indices, either winding.
        image_size: height and width in pixels, static.
        layers: peel this many depths, every face of a pixel once; None: the nearest, without an axis for
            layers.
        face_mask: false takes a face away.
        vertex_depth: view depth of the vertices. By default w; in images whose w is 1 throughout (weak
            perspective) clip z, which orders faces the same way but is no distance.
        edge_rule: whether a pixel centre exactly on an edge belongs to the face ("inclusive") or not ("strict").
        cull_backfaces: only faces that are counter-clockwise in the image are seen.
        backend: a name in `render.backends`: "xla", "dense" (one layer; for small pictures), or "nvdiffrast" on CUDA
            (one layer, its own edge rule, no culling); None: that of `draw_with`, "xla" outside of it.

    Returns:
        The fragments.

    Raises:
        ValueError: wrong shape, empty image, layers < 1, unknown edge rule or backend, face index out of range, or
            what the backend cannot do.
        RuntimeError: something that the backend needs is not installed; the message says what.

    Source: Olano and Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, Graphics Hardware
    1997; Everitt, Interactive Order-Independent Transparency, 2001, for peeling.
    """
    vertices_clip = to_float("vertices_clip", vertices_clip)
    check_scene(vertices_clip, faces, image_size, face_mask)
    check_choice("edge_rule", edge_rule, ("inclusive", "strict"))
    check_layers(layers)
    check_cull_backfaces(cull_backfaces)
    if vertex_depth is not None:
        vertex_depth = to_float("vertex_depth", vertex_depth)
        if vertex_depth.shape != vertices_clip.shape[:2]:
            raise ValueError(f"vertex_depth must have shape {vertices_clip.shape[:2]}, got {vertex_depth.shape}")
    return find_backend(backend).rasterize(
        vertices_clip, faces, static_size(image_size), layers=None if layers is None else int(layers),
        face_mask=face_mask, vertex_depth=vertex_depth, edge_rule=edge_rule, cull_backfaces=cull_backfaces,
    )  # fmt: skip
