"""The ceiling of bodies that the mesh can take on exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from ast_jax.evaluation.voxel_iou import mesh_occupancy, voxel_iou
from ast_jax.model.shape import query_layout
from ast_jax.model.template import sphere
from ast_jax.reports.ceiling import make_fit
from render import orbit, rasterize

LEVEL, SIZE, VIEWS = 2, 32, 4
BALL = sphere(LEVEL)
STRETCH = np.array([[0.7, 0.8, 1.3]])


def test_a_fit_to_all_views_finds_an_ellipsoid():
    azimuth_rad = np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)[None]
    camera = orbit(np.full((1, VIEWS), 2.7), np.full((1, VIEWS), 0.4), azimuth_rad, np.full((1, VIEWS), 0.33))
    bodies = (0.3 * BALL.vertices * STRETCH[:, None]).astype(np.float32)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), camera)
    clip = flat.project(jnp.repeat(jnp.asarray(bodies), VIEWS, axis=0))
    masks = np.asarray(rasterize(clip, BALL.faces, (SIZE, SIZE)).face_id >= 0, np.float32).reshape(1, VIEWS, SIZE, SIZE)
    template = (0.3 * BALL.vertices).astype(np.float32)
    layout = query_layout(LEVEL, LEVEL, True)
    fitted = np.asarray(make_fit(layout, template, BALL.faces, {"normal": 0.01}, steps=60)(camera, masks))
    truth = [mesh_occupancy(body, BALL.faces, 32) for body in bodies]
    before = [voxel_iou(mesh_occupancy(template, BALL.faces, 32), solid) for solid in truth]
    after = [voxel_iou(mesh_occupancy(shape, BALL.faces, 32), solid) for shape, solid in zip(fitted, truth)]
    assert max(before) < 0.62 and min(after) > 0.75, (before, after)
