"""Rendered data sets: colours, masks, key points, resuming, splits."""

import dataclasses
import json

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial import ConvexHull

from ast_jax.data.near_duplicates import cluster_shapes, join_labels, shape_fingerprint, split_by_group
from ast_jax.data.store import load_index, load_object
from ast_jax.datasets.jobs import print_index
from ast_jax.shapes.meshes import LazyMesh
from ast_jax.shapes.normalise import keep_faces
from ast_jax.shapes.prepare import PictureSettings, prepare_objects
from ast_jax.shapes.source_mesh import Material, SourceMesh

RED, GREEN, BLUE, WHITE = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
PICTURES = {field.name for field in dataclasses.fields(PictureSettings)}
SMALL = {"category": "box", "image_size": 16, "num_views": 4, "supersample": 2, "elevation_deg": 0.0}


def prepare(meshes, root, **settings):
    """`prepare_objects` with all settings by name."""
    pictures = PictureSettings(**{name: settings.pop(name) for name in PICTURES & set(settings)})
    return prepare_objects(meshes, root, pictures, **settings)


def box(name: str, size=(1.0, 1.0, 1.0), **fields) -> SourceMesh:
    """A box, red in front (+z), green at +x, blue above, white elsewhere."""
    mesh = trimesh.creation.box(size)
    normals = np.array(mesh.face_normals).round()
    colours = np.full((12, 3, 3), WHITE)
    for axis, colour in ((2, RED), (0, GREEN), (1, BLUE)):
        colours[normals[:, axis] == 1] = colour
    faces = np.array(mesh.faces, np.int32)
    materials = (Material((1.0, 1.0, 1.0)),)
    return SourceMesh(name, np.array(mesh.vertices), faces, materials, corner_colours=colours, **fields)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    corners = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, -0.5]])
    meshes = [
        box("one", keypoints=corners, provenance={"licence": "CC0"}),
        box("two", (1.0, 3.0, 1.0), group="pair", keypoints=corners * [1, 3, 1]),
        box("three", (3.0, 0.2, 0.2), group="pair", keypoints=corners * [3, 0.2, 0.2]),
        box("four", (1.0, 1.0, 4.0), keypoints=corners * [1, 1, 4]),
    ]
    prepare(meshes, root, keypoint_names=("front", "back"), shading=0.0, **SMALL)
    return root


def project(record, view: int, points):
    seen = points @ record.rotation[view].T.astype(np.float64) + record.translation[view]
    return seen[:, :2] / -seen[:, 2:] * record.focal[view] + record.principal[view]


def test_each_view_shows_the_side_it_should(root):
    images = load_object(root, "one").images
    assert images.shape == (4, 16, 16, 4)
    for view, colour in enumerate((RED, GREEN, WHITE, WHITE)):
        np.testing.assert_array_equal(images[view, 8, 8], [*(colour * 255), 255])
        np.testing.assert_array_equal(images[view, 0, 0], 0)


@pytest.mark.parametrize("name", ["one", "two", "three", "four"])
def test_mask_is_the_projected_hull(root, name):
    record = load_object(root, name)
    for view in range(4):
        hull = ConvexHull(project(record, view, record.vertices.astype(np.float64)))
        centres = (np.arange(32) + 0.5) / 16 - 1  # of the samples, NDC
        grid = np.stack(np.meshgrid(centres, -centres), axis=-1)
        inside = (grid @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0).all(axis=-1)
        expected = inside.reshape(16, 2, 16, 2).mean(axis=(1, 3)) * 255
        assert np.abs(record.images[view, ..., 3] - np.round(expected)).mean() < 1.0


def test_normalised_solid_with_surface(root):
    record = load_object(root, "two")
    assert np.isclose(np.linalg.norm(record.vertices, axis=-1).max(), 0.5)
    half = np.array([1, 3, 1]) / (2 * np.sqrt(11))
    np.testing.assert_allclose(record.vertices.max(axis=0), half, rtol=1e-6)
    assert record.occupancy[16, 16, 16] and record.occupancy[16, 2, 16] and not record.occupancy[2, 16, 16]
    assert record.surface_points.shape == (10_000, 3) == record.surface_normals.shape
    reach = np.abs(record.surface_points) / half
    np.testing.assert_allclose(reach.max(axis=-1), 1, rtol=1e-5)
    axis = reach.argmax(axis=-1)
    np.testing.assert_allclose(np.abs(record.surface_normals)[np.arange(10_000), axis], 1, atol=1e-6)


def test_keypoints_project_and_hide(root):
    record = load_object(root, "one")
    points = np.array([[1, 1, 1], [1, 1, -1]]) / (2 * np.sqrt(3))
    for view in range(4):
        np.testing.assert_allclose(record.keypoints_ndc[view, :, :2], project(record, view, points), atol=1e-5)
    # From the front the corner behind is hidden, from behind the one in front; from +x both are seen.
    np.testing.assert_array_equal(record.keypoints_ndc[:3, :, 2], [[1, 0], [1, 1], [0, 1]])


def test_index_manifest_and_contact_sheet(root):
    index = load_index(root)
    assert index["category"] == "box" and index["image_size"] == 16 and index["num_views"] == 4
    assert index["keypoint_names"] == ["front", "back"] and index["skipped"] == []
    assert sorted(sum(index["splits"].values(), [])) == ["four", "one", "three", "two"]
    lines = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    assert [line["object_id"] for line in lines] == ["one", "two", "three", "four"]
    assert lines[0]["licence"] == "CC0" and lines[1]["split"] == lines[2]["split"]
    assert Image.open(root / "contact.png").size == (64, 16)


def test_same_bytes_again_and_nothing_rendered_twice(tmp_path):
    asked = []

    def lazy(name: str) -> LazyMesh:
        return LazyMesh(name, lambda: asked.append(name) or box(name, (1.0, 2.0, 3.0)))

    for folder in ("first", "second"):
        prepare([lazy("a"), lazy("b")], tmp_path / folder, **SMALL)
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file())
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    asked.clear()
    (tmp_path / "first/objects/b.npz").unlink()
    with open(tmp_path / "first/manifest.jsonl", "a") as file:
        file.write('{"object_id": "c')  # a crash in the middle of a line
    index = prepare([lazy("a"), lazy("b"), lazy("c")], tmp_path / "first", **SMALL)
    assert asked == ["b", "c"] and len(sum(index["splits"].values(), [])) == 3
    with pytest.raises(ValueError, match="image_size=16"):
        prepare([lazy("a")], tmp_path / "first", **{**SMALL, "image_size": 32})


def test_bad_meshes_are_skipped_and_named_or_raised(tmp_path):
    flat = box("flat").replace(vertices=np.zeros((8, 3)))
    glass = box("glass").replace(
        corner_colours=None, materials=(Material(opacity=0.2),), face_material=np.zeros(12, np.int32)
    )
    nan = box("nan").replace(vertices=np.full((8, 3), np.nan))
    line = box("line").replace(vertices=np.arange(8)[:, None] * np.ones(3))
    # The ring looks at it from its edge, too, where a training would find nothing to crop to.
    upright = box("upright").replace(vertices=box("upright").vertices * [1, 1, 0])
    index = prepare([flat, box("good"), glass, nan, line, upright], tmp_path / "a", **SMALL)
    assert [message.split(":")[0] for message in index["skipped"]] == ["flat", "glass", "nan", "line", "upright"]
    assert all("shows nothing" in message for message in index["skipped"][3:])
    assert index["splits"]["train"] == ["good"]
    with pytest.raises(ValueError, match="flat"):
        prepare([flat], tmp_path / "b", on_error="raise", **SMALL)
    with pytest.raises(ValueError, match="no object"):
        prepare([flat], tmp_path / "c", **SMALL)


def test_one_bad_object_stops_no_other_whatever_it_raises(tmp_path):
    def failing(name: str, error: Exception) -> LazyMesh:
        def load():
            raise error

        return LazyMesh(name, load)

    errors = [RuntimeError("odd"), MemoryError(), RecursionError("deep"), KeyError("k"), OSError("gone"), IndexError()]
    bad = [failing(f"bad{k}", error) for k, error in enumerate(errors)]
    beyond = box("beyond").replace(faces=np.full((12, 3), 4_000_000_000))
    huge = box("huge").replace(vertices=np.full((8, 3), 1e300))
    odd = failing("name", ValueError("a\udcff.obj is not there"))
    meshes = [*bad, beyond, huge, odd, box("good"), box("good", (1.0, 2.0, 3.0))]
    index = prepare(meshes, tmp_path / "a", **SMALL)
    assert sum(index["splits"].values(), []) == ["good"]
    named = [line.split(":")[0] for line in index["skipped"]]
    assert named == [*(f"bad{k}" for k in range(6)), "beyond", "huge", "name", "good"]
    assert "comes twice" in index["skipped"][-1] and "1e+300" in index["skipped"][-3]
    assert load_index(tmp_path / "a")["skipped"] == index["skipped"]
    for item in (*bad, beyond):
        with pytest.raises(ValueError, match=item.object_id):
            prepare([item], tmp_path / "b", on_error="raise", **SMALL)


def test_notices_reach_the_index_and_are_printed_also_on_the_next_run(tmp_path, capsys):
    mesh = box("a").replace(notices=("texture 'x.png' is missing",))
    glass = box("b").replace(materials=(Material(), Material(opacity=0.1)), face_material=np.arange(12) // 10)
    for _ in range(2):
        index = prepare([mesh, glass], tmp_path, notices=["2 .fbx files are left out"], **SMALL)
        assert index["notices"] == [
            "2 .fbx files are left out",
            "a: texture 'x.png' is missing",
            "b: 2 of 12 faces are transparent and left out",
        ]
    assert load_index(tmp_path)["notices"] == index["notices"]
    print_index(index, str(tmp_path))
    printed = capsys.readouterr().out
    assert "3 notices\n  2 .fbx files" in printed and "a: texture 'x.png'" in printed and "0 skipped" in printed


def test_what_a_crash_cut_short_is_made_again(tmp_path):
    asked = []

    def lazy(name: str) -> LazyMesh:
        return LazyMesh(name, lambda: asked.append(name) or box(name))

    prepare([lazy("a"), lazy("b")], tmp_path, **SMALL)
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked.clear()
    path = tmp_path / "objects/a.npz"
    path.write_bytes(path.read_bytes()[:-100])
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-10])
    prepare([lazy("a"), lazy("b")], tmp_path, **SMALL)
    assert asked == ["a", "b"]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == whole
    # While it is being made: the line that comes after the one cut short is not lost.
    manifest.write_bytes(manifest.read_bytes()[:-10])
    with pytest.raises(KeyboardInterrupt):
        prepare([lazy("a"), lazy("c"), LazyMesh("d", _interrupted)], tmp_path, **SMALL)
    asked.clear()
    prepare([lazy("a"), lazy("c")], tmp_path, **SMALL)
    assert asked == []


def _interrupted():
    raise KeyboardInterrupt


def test_what_can_be_known_is_said_before_the_work(tmp_path):
    def never():
        raise AssertionError("read too early")

    for fractions in ((0.5, 0.1, 0.1), (0.7, 0.2, 0.2), (np.nan, 0.5, 0.5), (1.2, -0.1, -0.1)):
        with pytest.raises(ValueError, match="split_fractions"):
            prepare([LazyMesh("a", never)], tmp_path / "new", split_fractions=fractions, **SMALL)
    # 24 pictures of 400,000 samples a side are 154 TB at 40 bytes a sample.
    for options, says in (
        ({"image_size": 100_000}, "image_size=100000"),
        ({"num_views": 10**9}, "of memory"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(ValueError, match=says):
            prepare([LazyMesh("a", never)], tmp_path / "new", **{**SMALL, **options})
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written to"):
        prepare([LazyMesh("a", never)], tmp_path / "file", **SMALL)


def test_glass_and_a_missing_floor_do_not_empty_a_car(tmp_path):
    mesh = box("van", (1.0, 1.0, 2.0)).replace(corner_colours=None)
    normals = np.cross(*np.moveaxis(np.diff(mesh.vertices[mesh.faces], axis=1), 1, 0)).round()
    glass = (normals[:, 0] > 0).astype(np.int32)
    mesh = mesh.replace(materials=(Material(), Material(opacity=0.1)), face_material=glass)
    floorless = keep_faces(mesh, normals[:, 1] >= 0)
    for category, filled in (("car", True), ("box", False)):
        prepare([floorless], tmp_path / category, **{**SMALL, "category": category})
        record = load_object(tmp_path / category, "van")
        assert len(record.faces) == 8 and record.occupancy[16, 16, 16] == filled


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_size", 0), ("shading", 2.0), ("distance", 0.5), ("on_error", "stop"), ("fov_deg", 180.0)],
)
def test_settings_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        prepare([box("a")], tmp_path, **{**SMALL, name: value})


def test_mirrored_and_nearly_equal_shapes_form_one_cluster():
    rng = np.random.default_rng(0)
    blob = trimesh.creation.icosphere(subdivisions=3)
    faces = np.array(blob.faces, np.int32)
    lopsided = np.array(blob.vertices) * [2, 1, 1]
    lopsided[lopsided[:, 0] > 1, 1] += 2
    near = lopsided * 3 + rng.normal(0, 0.02, lopsided.shape)
    shapes = [lopsided, np.array(blob.vertices), lopsided * [-1, 1, 1], near]
    labels = cluster_shapes([shape_fingerprint(vertices, faces) for vertices in shapes])
    np.testing.assert_array_equal(labels, [0, 1, 0, 0])
    # x ties 0 with 1, and 2 with 3; y ties 1 with 2: all but the last belong together.
    joined = join_labels(["a", "a", "b", "b", "c"], [0, 1, 1, 2, 3])
    assert len(set(joined[:4])) == 1 and joined[4] != joined[0]


def test_clusters_are_those_of_every_pair_compared_by_itself():
    def alike(a, b):
        return max((side & b).sum() / max((side | b).sum(), 1) for side in (a, a[::-1])) >= 0.75

    rng = np.random.default_rng(0)
    kinds = rng.random((12, 9, 9, 9)) < rng.uniform(0.05, 0.3, (12, 1, 1, 1))
    grids = [kinds[rng.integers(12)] ^ (rng.random((9, 9, 9)) < rng.choice([0, 0.01, 0.05])) for _ in range(150)]
    grids = [grid[:: rng.choice([-1, 1])] for grid in grids] + 2 * [np.zeros((9, 9, 9), bool)]
    founders, expected = [], []
    for grid in grids:
        first = next((label for label, founder in enumerate(founders) if alike(grid, founder)), len(founders))
        founders += [grid] * (first == len(founders))
        expected.append(first)
    assert 12 < len(founders) < 100
    np.testing.assert_array_equal(cluster_shapes(grids), expected)


def test_splits_hold_groups_together_and_meet_the_quota():
    rng = np.random.default_rng(0)
    groups = list(rng.integers(0, 40, 200)) + ["large"] * 60
    splits = split_by_group(groups, (0.7, 0.1, 0.2), seed=1)
    assert sorted(sum(splits.values(), [])) == list(range(260))
    sides = [{groups[k] for k in rows} for rows in splits.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert "large" in sides[0] and 45 <= len(splits["test"]) <= 52 and 20 <= len(splits["val"]) <= 26
    assert splits == split_by_group(groups, (0.7, 0.1, 0.2), seed=1)
    assert [len(rows) for rows in split_by_group("abc", (0.7, 0.1, 0.2), seed=0).values()] == [1, 1, 1]
    with pytest.raises(ValueError, match="split_fractions"):
        split_by_group("abc", (0.7, 0.1, 0.1), seed=0)


def test_the_same_input_gives_the_same_bytes_whatever_the_layout(tmp_path):
    files = {}
    for attempt in ("first", "second"):
        for layout in ("ring", "random"):
            folder = tmp_path / attempt / layout
            prepare([box("one"), box("two", (1.0, 3.0, 1.0))], folder, view_layout=layout, seed=5, **SMALL)
            found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            files.setdefault(layout, []).append(found)
    for first, second in files.values():
        assert first.keys() == second.keys() and len(first) == 6
        assert all(first[name] == second[name] for name in first)


def test_random_views_see_the_object_from_where_they_say(tmp_path):
    meshes = [box("one"), box("two", (1.0, 3.0, 1.0))]
    settings = {**SMALL, "num_views": 12}
    prepare(meshes, tmp_path / "a", view_layout="random", **settings)
    prepare(meshes, tmp_path / "b", view_layout="random", **settings, seed=1)
    one, two, other = (load_object(tmp_path / r, name) for r, name in (("a", "one"), ("a", "two"), ("b", "one")))
    assert not np.allclose(one.rotation, two.rotation) and not np.allclose(one.rotation, other.rotation)
    eyes = -np.einsum("nji,nj->ni", one.rotation, one.translation)
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 2.732, rtol=1e-5)
    elevation_deg = np.degrees(np.arcsin(eyes[:, 1] / 2.732))
    assert elevation_deg.min() >= 0 and elevation_deg.max() <= 60 and np.ptp(elevation_deg) > 20
    for view in range(12):
        hull = project(one, view, one.vertices.astype(np.float64))
        rows, columns = np.nonzero(one.images[view, ..., 3] > 127)
        # Pixels of 1/8 in NDC.
        np.testing.assert_allclose(
            (columns.min() / 8 - 1, (columns.max() + 1) / 8 - 1), (hull.min(0)[0], hull.max(0)[0]), atol=0.13
        )
        np.testing.assert_allclose(
            (1 - (rows.max() + 1) / 8, 1 - rows.min() / 8), (hull.min(0)[1], hull.max(0)[1]), atol=0.13
        )
    with pytest.raises(ValueError, match="choose 'ring' or 'random'"):
        prepare(meshes, tmp_path / "c", view_layout="spiral", **SMALL)
