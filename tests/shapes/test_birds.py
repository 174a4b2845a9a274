import numpy as np
import pytest
import trimesh

from ast_jax.data.occupancy import solid_occupancy
from ast_jax.shapes.birds.body import KEYPOINT_NAMES, MIRROR, build_parts, draw_shape
from ast_jax.shapes.birds.synthetic import ensure_dataset, make_objects

NUM = 12


@pytest.fixture(scope="module")
def birds():
    return list(make_objects(NUM, seed=0))


def normalised(vertices):
    centred = vertices - (vertices.min(0) + vertices.max(0)) / 2
    return 0.5 * centred / np.linalg.norm(centred, axis=-1).max()


def intersection_over_union(a, b):
    return (a & b).sum() / (a | b).sum()


def test_same_seed_same_birds_whatever_their_number(birds):
    for again, bird in zip(make_objects(3, seed=0), birds):
        np.testing.assert_array_equal(again.vertices, bird.vertices)
        np.testing.assert_array_equal(again.corner_colours, bird.corner_colours)
    other = next(make_objects(1, seed=1))
    assert np.abs(other.vertices - birds[0].vertices).max() > 0.05


def test_meshes_are_sane(birds):
    assert len({bird.object_id for bird in birds}) == NUM
    for bird in birds:
        assert 3000 <= len(bird.faces) <= 8000
        assert np.isfinite(bird.vertices).all()
        assert 0 <= bird.corner_colours.min() and bird.corner_colours.max() <= 1
        assert bird.keypoints.shape == (len(KEYPOINT_NAMES), 3)


def test_parts_are_closed_and_face_outwards():
    for index in range(5):
        for part in build_parts(draw_shape(np.random.default_rng(index))):
            mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
            assert mesh.is_watertight and mesh.is_winding_consistent
            assert mesh.volume > 0, part.name


def test_left_mirrors_right(birds):
    for bird in birds[:4]:
        tree = trimesh.Trimesh(bird.vertices, bird.faces, process=False).kdtree
        distance, nearest = tree.query(bird.vertices * MIRROR)
        np.testing.assert_allclose(distance, 0, atol=1e-9)
        left, right = (bird.keypoints[KEYPOINT_NAMES.index(name)] for name in ("left_wing_tip", "right_wing_tip"))
        np.testing.assert_allclose(left * MIRROR, right, atol=1e-12)
        assert left[0] > 0  # front +Z and up +Y put the left at +X


def test_beak_before_tail_and_crown_above_belly(birds):
    for bird in birds:
        points = dict(zip(KEYPOINT_NAMES, bird.keypoints))
        assert points["beak_tip"][2] > points["tail_tip"][2] + 0.5
        assert points["crown"][1] > points["belly"][1]


def test_keypoints_touch_the_surface(birds):
    for bird in birds[:4]:
        triangles = bird.vertices[bird.faces]
        for point in bird.keypoints:
            nearest = trimesh.triangles.closest_point(triangles, np.broadcast_to(point, (len(triangles), 3)))
            assert np.linalg.norm(nearest - point, axis=1).min() < 0.06


def test_a_ball_or_another_bird_is_no_answer(birds):
    grids = [solid_occupancy(normalised(bird.vertices), bird.faces) for bird in birds]
    centres = (np.arange(32) + 0.5) / 32 - 0.5
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(centres, centres, centres, indexing="ij")))
    for ball in (0.2, 0.25, 0.3, 0.5):
        assert np.mean([intersection_over_union(grid, radius < ball) for grid in grids]) < 0.45
    pairs = [intersection_over_union(a, b) for i, a in enumerate(grids) for b in grids[:i]]
    assert np.mean(pairs) < 0.5
    mean_shape = np.mean(grids[:8], axis=0) > 0.4
    assert np.mean([intersection_over_union(grid, mean_shape) for grid in grids[8:]]) < 0.55


def test_plumages_differ(birds):
    means = np.array([bird.corner_colours.mean((0, 1)) for bird in birds])
    spread = np.linalg.norm(means[:, None] - means[None], axis=-1)[np.triu_indices(NUM, 1)]
    assert np.median(spread) > 0.15
    assert all(bird.corner_colours.std((0, 1)).max() > 0.08 for bird in birds)


def test_number_must_be_positive():
    with pytest.raises(ValueError, match="num"):
        next(make_objects(0, seed=0))


def test_dataset_is_made_once_and_others_are_refused(tmp_path):
    options = dict(num_objects=4, image_size=16, num_views=2, seed=5)
    index = ensure_dataset(tmp_path / "birds", **options)
    assert sum(len(ids) for ids in index["splits"].values()) == 4
    assert index["keypoint_names"] == list(KEYPOINT_NAMES)
    path = tmp_path / "birds" / "objects" / "bird_00000.npz"
    written = path.stat().st_mtime_ns
    assert ensure_dataset(tmp_path / "birds", **options) == index
    assert path.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="image_size=16"):
        ensure_dataset(tmp_path / "birds", **{**options, "image_size": 32})
    with pytest.raises(ValueError, match="view_layout='ring'"):
        ensure_dataset(tmp_path / "birds", **options, view_layout="random")


def test_random_views_are_others_for_each_bird(tmp_path):
    ensure_dataset(tmp_path / "birds", num_objects=2, image_size=16, num_views=3, seed=5, view_layout="random")
    cameras = [np.load(tmp_path / "birds" / "objects" / f"bird_0000{k}.npz")["rotation"] for k in range(2)]
    assert np.abs(cameras[0] - cameras[1]).max() > 0.1
    with pytest.raises(ValueError, match="view_layout='random'"):
        ensure_dataset(tmp_path / "birds", num_objects=2, image_size=16, num_views=3, seed=5)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file/birds: cannot be written to"):
        ensure_dataset(tmp_path / "file" / "birds", num_objects=1)
