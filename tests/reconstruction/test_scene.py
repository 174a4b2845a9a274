"""Several objects where they stand: planted ones are found again, and a joint GLB holds what its parts held."""

import io

import numpy as np
import trimesh

from ast_jax.data.crop import Box, crop_camera
from ast_jax.export import encode_glb, join_glb
from ast_jax.model.template import sphere
from ast_jax.reconstruction import MeshSettings
from ast_jax.reconstruction.result import Reconstruction
from ast_jax.reconstruction.scene import encode_scene, placement
from render import FaceTexels, PerspectiveCamera, VertexColours

FACES = sphere(1).faces
VERTICES = (0.3 * sphere(1).vertices).astype(np.float32)
FOCAL = 1 / np.tan(np.pi / 12)


def turn_y(angle_rad):
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.float32([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def planted(place, angle_rad, box, size=(120, 200), colour=0.5):
    """An object in the space of the photograph's camera, and the camera of a crop about it."""
    aspect = size[1] / size[0]
    camera = PerspectiveCamera(
        turn_y(angle_rad)[None],
        np.float32([place]),
        np.float32([[FOCAL / aspect, FOCAL]]),
        np.zeros((1, 2), np.float32),
    )
    blank = np.zeros((4, 4, 3), np.float32)
    texture = FaceTexels(np.full((1, len(FACES), 2, 2, 3), colour, np.float32))
    shown = blank, blank[..., 0], blank, blank, blank[..., 0]
    mesh = VERTICES, FACES, 1, True, texture
    crop = crop_camera(camera, [box], size)
    return Reconstruction("ball", *shown, *mesh, crop, box, size, 1.0, settings=MeshSettings(texture_size=64))


def test_planted_objects_are_found_where_they_stand():
    near = planted((0.4, -0.1, -3.0), 0.7, Box(90.0, 40.0, 70.0))
    far = planted((-1.1, 0.3, -5.0), -0.4, Box(20.0, 10.0, 40.0))
    for result, place, angle_rad in ((near, (0.4, -0.1, -3.0), 0.7), (far, (-1.1, 0.3, -5.0), -0.4)):
        matrix = placement(result)
        np.testing.assert_allclose(matrix[:3, 3], place, atol=1e-5)
        np.testing.assert_allclose(matrix[:3, :3], turn_y(angle_rad), atol=1e-5)


def test_half_the_size_is_twice_as_far():
    """The same view in a crop of half the side shows an object of the same size at twice the distance."""
    one = planted((0, 0, -3.0), 0.0, Box(60.0, 20.0, 80.0))
    half = Reconstruction(**{**vars(one), "box": Box(80.0, 40.0, 40.0)})
    np.testing.assert_allclose(placement(half)[:3, 3], 2 * placement(one)[:3, 3], atol=1e-6)


def test_a_joint_file_holds_what_its_parts_held():
    parts = [
        planted((0.4, 0, -3.0), 0.7, Box(90.0, 40.0, 70.0)),
        planted((-1, 0, -5.0), 0.1, Box(20.0, 10.0, 40.0), colour=0.9),
    ]
    scene = trimesh.load(io.BytesIO(encode_scene(parts)), file_type="glb", process=False)
    placed = sorted((scene.graph.get(name) for name in scene.graph.nodes_geometry), key=lambda node: -node[0][2, 3])
    assert len(placed) == 2
    for part, (matrix, geometry) in zip(parts, placed):  # the near one first
        alone = trimesh.load(
            io.BytesIO(next(iter(part.encode("glb").values()))), file_type="glb", process=False
        ).to_geometry()
        mesh = scene.geometry[geometry]
        np.testing.assert_array_equal(mesh.vertices, alone.vertices)
        np.testing.assert_array_equal(mesh.faces, alone.faces)
        pictures = (np.asarray(m.visual.material.baseColorTexture.convert("RGB")) for m in (mesh, alone))
        np.testing.assert_array_equal(*pictures)
        np.testing.assert_allclose(matrix, placement(part), atol=1e-5)


def test_one_file_joined_is_that_file():
    content = encode_glb(VERTICES, FACES, texture=VertexColours(np.full_like(VERTICES[None], 0.3)))
    mesh = trimesh.load(io.BytesIO(join_glb([("a", content, np.eye(4))])), file_type="glb", process=False).to_geometry()
    np.testing.assert_array_equal(
        mesh.vertices, trimesh.load(io.BytesIO(content), file_type="glb", process=False).to_geometry().vertices
    )
