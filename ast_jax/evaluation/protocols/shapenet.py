"""The protocols of NMR and SoftRas, of Unicorn, and of Occupancy Networks, on ShapeNet."""

from functools import partial

import numpy as np
from jaxtyping import Float

from ast_jax.evaluation.nmr_voxels import nmr_occupancy
from ast_jax.evaluation.point_iou import point_iou, points_inside
from ast_jax.evaluation.protocols.base import Item, Protocol, all_views, first_view, one_random_view
from ast_jax.evaluation.protocols.surfaces import SURFACE_COLUMNS, compare_surfaces
from ast_jax.evaluation.published import NMR_SHAPENET, UNICORN_SHAPENET
from ast_jax.evaluation.shape3d import voxel_iou

# Points on each surface, as in the evaluations of Unicorn and of Occupancy Networks.
NUM_POINTS = 100_000


def in_true_frame(item: Item) -> Float[np.ndarray, "b v 3"]:
    """The predicted vertices in the object space of the truth.

    A method that finds the camera itself has an object space of its own: from there to the view by its own camera,
    and back by the true one, ``R^T (view - t)``, as Unicorn does.
    """
    vertices = np.asarray(item.predicted.vertices, np.float64)
    camera = item.predicted.found_camera
    if camera is None:
        return vertices
    view = np.asarray(camera.view(item.predicted.vertices), np.float64)
    chosen = list(item.views)
    return (view - item.truth.translation[chosen][:, None]) @ item.truth.rotation[chosen].astype(np.float64)


def _measure_nmr(item: Item) -> dict[str, float]:
    solids = [nmr_occupancy(vertices, item.predicted.faces) for vertices in in_true_frame(item)]
    return {"iou_nmr": float(np.mean([voxel_iou(solid, item.truth.occupancy) for solid in solids]))}


def _measure_unicorn(item: Item, num_points: int) -> dict[str, float]:
    return compare_surfaces(
        in_true_frame(item)[0], item.predicted.faces, item.truth, num_points, item.index, with_icp=True
    )


def _measure_occnet(item: Item, num_points: int) -> dict[str, float]:
    vertices = in_true_frame(item)[0]
    inside = points_inside(item.truth.query_points, vertices, item.predicted.faces)
    scores = {"iou_points": point_iou(inside, item.truth.query_inside)}
    return scores | compare_surfaces(vertices, item.predicted.faces, item.truth, num_points, item.index)


NMR = Protocol(
    description="3D IoU of 32^3 voxels in NMR's way, every one of the 24 views as input, mean over views and objects",
    choose_views=all_views,
    measure=_measure_nmr,
    own_columns=("iou_nmr",),
    published=NMR_SHAPENET,
    needs=("occupancy",),
    note="Published rows are means over the 13 classes: evaluate each class, then average. SoftRas's code measures on"
    " val.",
)


def unicorn(num_points: int = NUM_POINTS) -> Protocol:
    """Unicorn's, and with it the part of AST's code for data with 3D truth."""
    return Protocol(
        description="Chamfer-L1 of 100k points before and after ICP, one random view of each test object",
        choose_views=one_random_view,
        measure=partial(_measure_unicorn, num_points=num_points),
        own_columns=("chamfer_l1_icp", *SURFACE_COLUMNS),
        published=UNICORN_SHAPENET,
        needs=("surface_points",),
        stored_points=NUM_POINTS,
        note="Published tables print ten times this. Their random views depend on the state of a generator, ours on"
        " --seed. Our ICP departs from the released code on purpose (evaluation/alignment.py): it starts from the box"
        " of the truth, keeps all of the best step, and never ends worse than no alignment; values beside the published"
        " row can be lower for that.",
    )


def occnet(num_points: int = NUM_POINTS) -> Protocol:
    """That of Occupancy Networks."""
    return Protocol(
        description="IoU at the stored points, Chamfer-L1 and normal consistency of 100k points; view 0 of each object",
        choose_views=first_view,
        measure=partial(_measure_occnet, num_points=num_points),
        own_columns=("iou_points", *SURFACE_COLUMNS),
        needs=("query_points", "query_inside", "surface_points", "surface_normals"),
        stored_points=NUM_POINTS,
        note="Published tables print ten times the Chamfer distance.",
    )
