"""What is written has the faces, the axes and the size that were asked for, and the same colours."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from ast_jax.data.crop import Box
from ast_jax.reconstruction import MeshSettings
from ast_jax.reconstruction.scene import placement
from render import VertexColours
from tests.reconstruction.test_scene import VERTICES, planted


def ball(**settings):
    result = planted((0.4, -0.1, -3.0), 0.7, Box(90.0, 40.0, 70.0))
    return replace(result, settings=MeshSettings(texture_size=64, **settings))


def read(result, suffix: str) -> trimesh.Trimesh:
    content = next(iter(result.encode(suffix).values()))
    return trimesh.load(io.BytesIO(content), file_type=suffix, force="mesh", process=False)


@pytest.mark.parametrize(
    "faces, written", [(None, 80), (1, 80), (159, 80), (161, 320), (1280, 1280), (6000, 5120), (10**9, 20480)]
)
def test_the_nearest_number_of_faces_is_taken(faces, written):
    assert 20 * 4 ** MeshSettings(faces=faces).level(1) == written


@pytest.mark.parametrize(
    "settings, message", [({"up": "x"}, "up"), ({"scale": 0.0}, "above 0"), ({"faces": 0}, "faces: a mesh has some")]
)
def test_what_makes_no_mesh_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MeshSettings(**settings)


def test_a_finer_ball_is_closed_and_as_round():
    mesh = read(ball(faces=1280), "ply")
    assert len(mesh.faces) == 1280 and mesh.is_volume
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.3, atol=0.002)
    np.testing.assert_allclose(mesh.vertices[: len(VERTICES)], VERTICES, atol=1e-6)


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_z_may_point_up_and_lengths_grow(suffix):
    x, y, z = 20 * np.asarray(read(ball(), suffix).vertices).T
    np.testing.assert_allclose(read(ball(up="z", scale=20.0), suffix).vertices, np.stack([x, -z, y], 1), atol=1e-4)


def test_a_glb_is_y_up_and_a_usdz_says_what_it_is():
    grown = read(ball(up="z", scale=2.0), "glb").vertices
    np.testing.assert_allclose(grown, 2 * read(ball(), "glb").vertices, atol=1e-6)
    for up in ("y", "z"):
        assert f'upAxis = "{up.upper()}"'.encode() in ball(up=up).encode("usdz")["ball.usdz"]


def test_scene_and_camera_have_the_scale_of_the_mesh():
    one, other = ball(), ball(scale=3.0)
    np.testing.assert_allclose(placement(other)[:3, 3], 3 * placement(one)[:3, 3])
    np.testing.assert_allclose(placement(other)[:3, :3], placement(one)[:3, :3])
    position = [json.loads(r.camera_json())["opengl"]["camera_to_world"] for r in (one, other)]
    np.testing.assert_allclose(np.array(position[1])[:3, 3], 3 * np.array(position[0])[:3, 3], atol=1e-5)


def test_faces_that_were_seen_are_marked_on_every_level():
    for faces in (80, 320):
        content = ball(faces=faces).encode("glb")["ball.glb"]
        length = int.from_bytes(content[12:16], "little")
        extras = json.loads(content[20 : 20 + length])["meshes"][0]["extras"]
        assert len(extras["seen_faces"]) == faces


def test_colours_that_are_drawn_do_not_depend_on_the_faces_that_are_written():
    painted = VertexColours((0.5 + VERTICES / 0.7)[None])
    one, other = (replace(ball(faces=faces), predicted_texture=painted).texture.values for faces in (80, 1280))
    assert np.ptp(one) > 0.8
    assert np.abs(one - other).mean() < 0.03  # of a texture of 64 px; other places would differ by 0.3
