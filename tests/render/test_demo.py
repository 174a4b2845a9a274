"""The demo runs and does what it says; the Python on docs/render.md runs."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import trimesh
from PIL import Image

from benchmarks.render_pictures import PAGE, run_page
from render import demo, icosphere
from render.cow import cow, surface_nets

ROOT = Path(__file__).resolve().parents[2]


def test_surface_of_a_sampled_ball_is_that_ball():
    centre, radius = np.array([9.2, 10.1, 11.3]), 6.0
    # Unequal sides: axes that are mixed up would show.
    points = np.stack(np.meshgrid(*(np.arange(n) for n in (20, 22, 24)), indexing="ij"), axis=-1)
    vertices, faces = surface_nets(np.linalg.norm(points - centre, axis=-1) - radius)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    np.testing.assert_allclose(np.linalg.norm(vertices - centre, axis=1), radius, atol=0.1)
    # The mean of the zeros of a cell lies a little inside of a curved surface: 1 % of this radius.
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.04)


def test_the_cow_is_one_closed_mesh_that_fits_its_sphere():
    vertices, faces, colours = cow()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.volume > 0 and mesh.body_count == 1
    assert np.linalg.norm(vertices, axis=1).max() < 0.5
    assert colours.shape == vertices.shape and 0 <= colours.min() and colours.max() <= 1


def test_masks_have_the_area_of_a_ball_and_chamfer_the_distance_of_two():
    ball, faces = icosphere(3)
    cameras = demo.ring(3)
    area = np.asarray(demo.masks_of(0.4 * ball, faces, cameras, 32)).mean((1, 2))
    # The cone that touches a ball of radius r from distance d cuts the image plane in tan(asin(r / d)).
    expected = np.pi / 4 * (np.tan(np.arcsin(0.4 / 2.732)) / np.tan(0.225)) ** 2
    np.testing.assert_allclose(area, expected, rtol=0.02)
    first, second = (demo.seen_points(radius * ball, faces, cameras) for radius in (0.4, 0.3))
    assert demo.chamfer(first, second) == pytest.approx(0.1, rel=0.05)
    assert demo.chamfer(first, first) == 0


def test_a_mesh_file_is_moved_into_the_sphere(tmp_path):
    vertices, faces = icosphere(1)
    demo.write_obj(tmp_path / "ball.obj", 3 * vertices + 7, faces)
    read, same_faces = demo.read_mesh(str(tmp_path / "ball.obj"))
    np.testing.assert_allclose(read, 0.5 * vertices, atol=1e-5)
    np.testing.assert_array_equal(same_faces, faces)
    (tmp_path / "empty.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match="no faces"):
        demo.read_mesh(str(tmp_path / "empty.obj"))


def test_the_demo_raises_the_iou_and_writes_its_files(tmp_path):
    flags = ["--steps=40", "--views=4", "--size=32", "--level=2", "--frames=3", f"--output={tmp_path}"]
    command = [sys.executable, "-m", "render.demo", *flags]
    printed = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    lines = re.findall(r"(IoU, fitted|IoU, other|Chamfer).* (\S+) -> (\S+)", printed)
    before, after = ({name: float(line[i]) for name, *line in lines} for i in (0, 1))
    assert after["IoU, fitted"] > before["IoU, fitted"] + 0.1 and after["IoU, other"] > before["IoU, other"] + 0.1
    assert after["Chamfer"] < before["Chamfer"]
    with Image.open(tmp_path / "demo.gif") as film:
        assert film.n_frames > 1
    assert trimesh.load(tmp_path / "fit.obj", force="mesh", process=False).is_watertight


def test_the_python_on_the_page_runs():
    page = run_page(steps=2)
    for name in ("shape", "texels", "found", "pair", "turned"):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(page[name])), name


def test_every_picture_on_the_page_is_there():
    names = re.findall(r"!\[.*?\]\((.*?)\)", PAGE.read_text())
    assert names and all((PAGE.parent / name).is_file() for name in names)
