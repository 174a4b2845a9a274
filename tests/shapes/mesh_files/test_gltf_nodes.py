"""glTF as its specification (2.0) defines it: nodes, scenes and skins; sections are those of the specification."""

import numpy as np
import pytest

from ast_jax.shapes.mesh_files.gltf import load_gltf
from tests.shapes.mesh_files.glb import TRIANGLE, Glb
from tests.shapes.mesh_files.looks import normal


@pytest.fixture
def load(tmp_path):
    return lambda glb: load_gltf(glb.write(tmp_path / "a.glb"))


# Nodes and scenes: section 3.5.


def test_translation_times_rotation_times_scale_below_a_matrix(load):
    glb = Glb()
    quarter = np.sqrt(0.5)
    glb.tree["nodes"] = [
        {"children": [1], "matrix": [0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 10, 20, 30, 1]},  # (x, y, z) to (y, z, x)
        {"mesh": 0, "translation": [1, 2, 3], "rotation": [0, 0, quarter, quarter], "scale": [2, 3, 4]},
    ]
    # (1, 0, 0): scaled (2, 0, 0), turned by 90 deg about z (0, 2, 0), moved (1, 4, 3), by the matrix (4, 3, 1)
    np.testing.assert_allclose(load(glb).vertices[1], [14, 23, 31], atol=1e-12)


@pytest.mark.parametrize("node", [{"scale": [-1, 1, 1]}, {"scale": [1, 1, -1]}, {"scale": [-1, -1, -1]},
                                  {"matrix": [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}])  # fmt: skip
def test_a_mirrored_body_is_still_seen_from_outside(load, node):
    """Section 3.7.4; with its corners go colours and texture coordinates."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.uint8)
    glb = Glb(corners, faces.ravel(), COLOR_0=np.concatenate([[[0, 0, 0]], np.eye(3)]).astype(np.float32))
    glb.tree["nodes"] = [{"mesh": 0, **node}]
    mesh = load(glb)
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    np.testing.assert_allclose(np.einsum("fd,fd->", a, np.cross(b, c)), 1, atol=1e-6)  # six times the volume
    matrix = np.reshape(node["matrix"], (4, 4))[:3, :3] if "matrix" in node else np.diag(node["scale"])
    np.testing.assert_allclose(mesh.corner_colours @ matrix.T, mesh.vertices[mesh.faces], atol=1e-6)


def test_only_the_scene_that_opens_is_shown(load):
    glb = Glb()
    glb.tree["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [9, 0, 0]}, {"children": [1]}]
    glb.tree["scenes"] = [{"nodes": [0]}, {"nodes": [2]}]
    glb.tree["scene"] = 1
    mesh = load(glb)
    assert mesh.vertices[:, 0].min() == 9 and "left out a node" in mesh.notices[0]
    del glb.tree["scene"]
    assert load(glb).vertices[:, 0].max() == 1
    del glb.tree["scenes"]
    assert len(load(glb).faces) == 2 and load(glb).notices == ()


def test_instances(load):
    """EXT_mesh_gpu_instancing: node x (translation x rotation x scale) of each; one of them is mirrored."""
    glb = Glb()
    attributes = {
        "TRANSLATION": glb.accessor(np.array([[0, 0, 0], [5, 0, 0]], np.float32)),
        "ROTATION": glb.accessor(np.array([[0, 0, 0, 127], [0, 0, 90, 90]], np.int8), normalized=True),
        "SCALE": glb.accessor(np.array([[1, 1, 1], [2, 1, -1]], np.float32)),
    }
    glb.tree["nodes"][0] |= {"scale": [1, 3, 1], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
    glb.tree["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    mesh = load(glb)
    np.testing.assert_allclose(mesh.vertices[:3], TRIANGLE * [1, 3, 1])
    np.testing.assert_allclose(mesh.vertices[3:], [[5, 0, 0], [5, 6, 0], [4, 0, 0]], atol=1e-6)
    assert normal(mesh, 0)[2] > 0 and normal(mesh, 1)[2] < 0  # mirrored along z, it looks to -z


def test_hidden_nodes(load):
    glb = Glb()
    glb.tree["nodes"] = [{"children": [1, 2]}, {"mesh": 0}]
    glb.tree["nodes"].append({"children": [3], "extensions": {"KHR_node_visibility": {"visible": False}}})
    glb.tree["nodes"].append({"mesh": 0})
    assert len(load(glb).faces) == 1 and "hides" in load(glb).notices[0]


# Skins: section 3.7.3.


def skinned(weights, joints, bind=None) -> Glb:
    """Two joints: one moved by (5, 0, 0), below it one moved by (0, 2, 0) more and three times as high."""
    glb = Glb()
    for k, (w, j) in enumerate(zip(weights, joints)):
        glb.attribute(f"WEIGHTS_{k}", w, normalized=w.dtype != np.float32)
        glb.attribute(f"JOINTS_{k}", j)
    glb.tree["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [100, 100, 100], "scale": [9, 9, 9]},  # makes no difference
        {"children": [2], "translation": [5, 0, 0]},
        {"translation": [0, 2, 0], "scale": [1, 3, 1]},
    ]
    glb.tree["scenes"] = [{"nodes": [0, 1]}]
    glb.tree["skins"] = [{"joints": [1, 2]}]
    if bind is not None:
        glb.tree["skins"][0]["inverseBindMatrices"] = glb.accessor(bind)
    return glb


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.uint16])
def test_joints_move_vertices_by_their_weights(load, kind):
    largest = 1 if kind is np.float32 else np.iinfo(kind).max
    weights = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.2, 0.8, 0, 0]])
    weights = (weights * largest).astype(kind)  # .2 and .8 of 255 and of 65535 are whole
    joints = np.array([[0, 0, 99, 99], [0, 1, 99, 99], [0, 1, 99, 99]], np.uint8)  # 99: no such joint, and no weight
    vertices = load(skinned([weights], [joints])).vertices
    # (0, 1, 0): (5, 1, 0) by the first, (5, 5, 0) by the second
    np.testing.assert_allclose(vertices, [[5, 0, 0], [6, 2, 0], [5, 4.2, 0]], atol=1e-6)


def test_two_sets_of_joints_count_together_and_weights_are_made_to_sum_to_one(load):
    first, second = (np.tile(np.float32([w, 0, 0, 0]), (3, 1)) for w in (0.5, 1.5))
    joints = [np.full((3, 4), k, np.uint16) for k in (0, 1)]
    vertices = load(skinned([first, second], joints)).vertices
    np.testing.assert_allclose(vertices[2], [5, 0.25 * 1 + 0.75 * 5, 0], atol=1e-6)


def test_inverse_bind_matrices_come_first(load):
    bind = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    bind[1, 3, :3] = [0, 10, 0]  # by columns: a move of (0, 10, 0)
    ones, joints = np.tile(np.float32([1, 0, 0, 0]), (3, 1)), np.ones((3, 4), np.uint8)
    np.testing.assert_allclose(load(skinned([ones], [joints], bind.reshape(2, 16))).vertices[0], [5, 32, 0])


def test_a_mirroring_joint_turns_the_face(load):
    glb = skinned([np.tile(np.float32([1, 0, 0, 0]), (3, 1))], [np.ones((3, 4), np.uint8)])
    assert normal(load(glb))[2] > 0
    glb.tree["nodes"][2]["scale"] = [1, 3, -1]  # towards -z it looks from the mirrored outside
    assert normal(load(glb))[2] < 0


def test_a_joint_that_is_not_there(load):
    glb = skinned([np.tile(np.float32([1, 0, 0, 0]), (3, 1))], [np.full((3, 4), 2, np.uint8)])
    with pytest.raises(ValueError, match=r"skins\[0\] has 2 joints"):
        load(glb)
    glb = Glb()
    glb.tree |= {"skins": [{"joints": [0]}], "nodes": [{"mesh": 0, "skin": 0}]}
    assert "no joints" in load(glb).notices[0]
