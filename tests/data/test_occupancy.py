"""Voxel solids and outer surfaces against analytic shapes and polygon clipping."""

import numpy as np
import pytest
import trimesh

from ast_jax.data.occupancy import solid_occupancy, surface_occupancy
from ast_jax.shapes.outer_surface import sample_outer_surface


def sphere(radius: float, subdivisions: int = 4):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.array(mesh.vertices), np.array(mesh.faces, np.int32)


def voxel_distances(resolution: int):
    """Least and greatest distance from the origin over each voxel of the cube [-0.5, 0.5]^3."""
    edges = np.arange(resolution + 1) / resolution - 0.5
    near = np.where(edges[:-1] * edges[1:] <= 0, 0, np.minimum(np.abs(edges[:-1]), np.abs(edges[1:])))
    far = np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
    grids = (np.stack(np.meshgrid(d, d, d, indexing="ij"), -1) for d in (near, far))
    return (np.linalg.norm(grid, axis=-1) for grid in grids)


def clipped_area_touches(triangle, low, high) -> bool:
    """Whether a triangle meets a box: the polygon left after clipping by its six planes is not empty."""
    polygon = list(triangle)
    for axis in range(3):
        for sign, bound in ((1, high[axis]), (-1, -low[axis])):
            clipped = []
            for a, b in zip(polygon, polygon[1:] + polygon[:1]):
                da, db = bound - sign * a[axis], bound - sign * b[axis]
                if da >= 0:
                    clipped.append(a)
                if da * db < 0:
                    clipped.append(a + (b - a) * da / (da - db))
            polygon = clipped
    return bool(polygon)


def test_surface_voxels_equal_polygon_clipping():
    rng = np.random.default_rng(0)
    side = 6
    for _ in range(12):
        vertices = rng.uniform(-0.6, 0.6, (3, 3))
        found = surface_occupancy(vertices, np.array([[0, 1, 2]], np.int32), side)
        expected = np.zeros_like(found)
        for index in np.ndindex(side, side, side):
            low = np.array(index) / side - 0.5
            expected[index] = clipped_area_touches(vertices, low, low + 1 / side)
        np.testing.assert_array_equal(found, expected)


def test_solid_sphere_is_exact_up_to_its_facets():
    vertices, faces = sphere(0.43)
    sagitta = 0.43 - np.linalg.norm(vertices[faces].mean(axis=1), axis=-1).min()
    near, far = voxel_distances(32)
    solid = solid_occupancy(vertices, faces)
    assert solid[near < 0.43 - sagitta].all()
    assert not solid[near > 0.43].any()


def test_box_indexed_x_y_z():
    box = trimesh.creation.box((0.2, 0.4, 0.9))
    solid = solid_occupancy(np.array(box.vertices), np.array(box.faces, np.int32))
    edges = np.arange(33) / 32 - 0.5
    inside = [(edges[:-1] <= half) & (edges[1:] >= -half) for half in (0.1, 0.2, 0.45)]
    expected = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
    np.testing.assert_array_equal(solid, expected)


def test_small_gaps_and_any_winding_do_not_matter_but_an_open_shell_is_hollow():
    vertices, faces = sphere(0.45)
    closed = solid_occupancy(vertices, faces)
    torn = np.delete(faces, np.arange(0, len(faces), 7), axis=0)  # faces are smaller than a voxel
    torn[::2] = torn[::2, ::-1]
    np.testing.assert_array_equal(solid_occupancy(vertices, torn)[16, 16], closed[16, 16])
    assert solid_occupancy(vertices, torn).sum() > 0.98 * closed.sum()
    below = faces[vertices[faces][..., 1].max(axis=1) < 0.2]  # open above
    assert not solid_occupancy(vertices, below)[16, 16, 16]
    assert not solid_occupancy(vertices, below, open_below=True)[16, 16, 16]


def test_a_car_without_a_floor_is_filled_when_asked_for():
    vertices, faces = sphere(0.45)
    above = faces[vertices[faces][..., 1].min(axis=1) > -0.1]  # open below
    assert not solid_occupancy(vertices, above)[16, 18, 16]
    assert solid_occupancy(vertices, above, open_below=True)[16, 18, 16]
    assert not solid_occupancy(vertices, above, open_below=True)[16, :10, 16].any()
    # A hole in the side far larger than a voxel: what has surface on all six sides is inside all the same.
    centres = vertices[faces].mean(axis=1)
    holed = faces[~((centres[:, 0] > 0.2) & (np.abs(centres[:, 1:] - 0.15) < 0.1).all(axis=1))]
    solid = solid_occupancy(vertices, holed)
    assert solid[16, 16, 16] and not solid[16, 21, 21]


@pytest.mark.parametrize("radius", [0.6, 5.0])
def test_a_mesh_larger_than_the_cube_still_has_an_inside(radius):
    vertices, faces = sphere(radius, subdivisions=3)
    assert solid_occupancy(vertices, faces)[16, 16].all()
    solid = solid_occupancy(vertices + np.array([radius, 0, 0]), faces)  # only the half x > 0 is filled
    assert solid[17:, 14:18, 14:18].all() and not solid[:15].any()


@pytest.mark.parametrize(
    ("vertices", "faces", "word"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3), np.int32), "faces"),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "finite"),
        (np.zeros((3, 3)), np.array([[0, 1, 3]]), "vertex 3"),
    ],
)
def test_bad_input(vertices, faces, word):
    with pytest.raises(ValueError, match=word):
        solid_occupancy(vertices, faces)


def test_surface_points_lie_on_the_outer_shell_and_look_outwards():
    outer, faces = sphere(0.45, 3)
    inner, inner_faces = sphere(0.2, 3)
    mixed = np.concatenate([faces, inner_faces + len(outer)]).astype(np.int32)
    mixed[::2] = mixed[::2, ::-1]  # the winding says nothing
    rng = np.random.default_rng(0)
    both = np.concatenate([outer, inner])
    points, normals = sample_outer_surface(both, mixed, solid_occupancy(both, mixed, 64), 4000, rng)
    radius = np.linalg.norm(points, axis=-1)
    assert points.shape == normals.shape == (4000, 3)
    assert radius.min() > 0.44 and radius.max() <= 0.4500001
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-9)
    assert ((normals * points).sum(axis=-1) > 0).mean() > 0.999
    # Uniform by area: each octant holds an eighth, within five standard deviations.
    share = np.unique((points > 0) @ np.array([1, 2, 4]), return_counts=True)[1] / 4000
    np.testing.assert_allclose(share, 0.125, atol=5 * np.sqrt(0.125 * 0.875 / 4000))
