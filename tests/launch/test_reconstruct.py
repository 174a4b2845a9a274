"""``launch.reconstruct``: pictures in, meshes out, one clear line for everything wrong with the input."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from absl.testing import flagsaver
from flax import nnx
from ml_collections import ConfigDict
from PIL import Image

import ast_jax.reconstruct as reconstruction
import launch.reconstruct
from ast_jax.export import draw_views
from ast_jax.model import Prediction
from render import icosphere, orbit

VERTICES, FACES = icosphere(2)
VERTICES = (VERTICES * [0.2, 0.15, 0.4] + [0, 0.1, 0] * (VERTICES[:, 2:] > 0.8)).astype(np.float32)
TEXELS = np.broadcast_to(0.5 + 0.5 * (VERTICES[FACES].mean(1) > 0)[:, None, None] * 1.0, (len(FACES), 2, 2, 3))
CONFIG = ConfigDict({"data": {"image_size": 32, "background": (1.0, 1.0, 1.0)}})


class KnowsOneObject(nnx.Module):
    """Stands for a trained model: whatever the picture, the object is the one that was photographed."""

    def __init__(self):
        self.colour = nnx.Param(jnp.asarray(TEXELS, jnp.float32) * 0.8)

    def __call__(self, image):
        assert image.shape[1:] == (32, 32, 3)
        return Prediction(jnp.asarray(VERTICES)[None], FACES, texels=self.colour[...][None])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """One object, photographed; object and background in every way that is accepted."""
    folder = tmp_path_factory.mktemp("photos")
    camera = orbit(2.732, np.radians([20.0]), np.radians([60.0]), np.pi / 6)
    rgb = draw_views(VERTICES, FACES, camera, texels=np.asarray(TEXELS * 0.8, np.float32), image_size=(90, 90))[0]
    cover = 255 - draw_views(VERTICES, FACES, camera, colour=(0.0, 0.0, 0.0), image_size=(90, 90))[0][..., 0]
    Image.fromarray(np.dstack([rgb, cover])).save(folder / "alpha.png")
    Image.fromarray(rgb).save(folder / "plain.png")
    Image.fromarray(cover).save(folder / "mask.png")
    Image.fromarray(cover[:50]).save(folder / "wrong_size.png")
    Image.fromarray(np.zeros_like(cover)).save(folder / "empty_mask.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "corrupt.png").write_bytes((folder / "alpha.png").read_bytes()[:200])
    return folder


def run(photos, output, images, masks=(), **options):
    paths = [str(photos / name) for name in images]
    masks = [str(photos / name) for name in masks]
    return reconstruction.reconstruct_files(KnowsOneObject(), CONFIG.data, paths, output, masks=masks, **options)


def test_files_of_one_picture(photos, tmp_path):
    assert run(photos, tmp_path, ["alpha.png"]) == []
    assert {p.name for p in tmp_path.iterdir()} == {"alpha.glb", "alpha.png", "alpha.gif", "index.html"}
    mesh = trimesh.load(tmp_path / "alpha.glb", process=False).to_geometry()
    np.testing.assert_allclose(mesh.vertices[mesh.faces], VERTICES[FACES], atol=1e-6)
    panels = np.asarray(Image.open(tmp_path / "alpha.png")).astype(int)
    assert panels.shape == (256, 768, 3)
    # the mesh, drawn from the camera that was found, looks like the picture
    assert np.abs(panels[:, :256] - panels[:, 256:512]).mean() < 8
    assert "alpha" in (tmp_path / "index.html").read_text()
    with Image.open(tmp_path / "alpha.gif") as gif:
        assert gif.n_frames > 10


def test_mask_file_tells_the_same_object_as_alpha(photos):
    model = reconstruction.make_predictor(KnowsOneObject())
    found = []
    for image, mask in [("alpha.png", None), ("plain.png", photos / "mask.png"), ("plain.png", None)]:
        rgb, cover = reconstruction.load_photo(photos / image, mask)
        found.append(reconstruction.reconstruct(model, rgb, cover, CONFIG.data))
    assert all(result.mask_iou > 0.93 for result in found)
    np.testing.assert_allclose(found[0].picture, found[1].picture, atol=0.02)


def test_refinement_is_reported(photos):
    model = reconstruction.make_predictor(KnowsOneObject())
    rgb, cover = reconstruction.load_photo(photos / "alpha.png", None)
    plain = reconstruction.reconstruct(model, rgb, cover, CONFIG.data)
    refined = reconstruction.reconstruct(model, rgb, cover, CONFIG.data, refine_steps=20)
    assert plain.refinement is None
    assert refined.refinement.after["total"] < refined.refinement.before["total"]
    assert np.abs(refined.vertices - plain.vertices).max() > 1e-4


def test_bad_pictures_are_named_and_good_ones_still_written(photos, tmp_path):
    images = ["missing.png", "empty.png", "alpha.png", "corrupt.png"]
    problems = run(photos, tmp_path, images)
    assert len(problems) == 3
    for line, name in zip(problems, ["missing.png", "empty.png", "corrupt.png"]):
        assert name in line and "\n" not in line
    assert (tmp_path / "alpha.glb").is_file()
    assert "missing.png" in (tmp_path / "index.html").read_text()


def test_bad_masks_are_named(photos, tmp_path):
    problems = run(photos, tmp_path, ["plain.png", "plain.png"], ["wrong_size.png", "empty_mask.png"])
    assert len(problems) == 2
    assert "wrong_size.png" in problems[0] and "empty_mask.png" in problems[1]
    assert not (tmp_path / "index.html").exists()
    with pytest.raises(ValueError, match="one for each"):
        run(photos, tmp_path, ["plain.png", "alpha.png"], ["mask.png"])


def test_command_line(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ast_jax.training.checkpoint.load_model", lambda run_dir: (KnowsOneObject(), CONFIG))
    images = [str(photos / "alpha.png"), str(photos / "missing.png")]
    with flagsaver.flagsaver(checkpoint="run", image=images, output=str(tmp_path)):
        with pytest.raises(SystemExit, match="error: .*missing.png") as stop:
            launch.reconstruct.main([])
    assert len(str(stop.value).splitlines()) == 1
    assert "index.html" in capsys.readouterr().out


def test_missing_checkpoint_is_one_line(tmp_path):
    command = [sys.executable, "-m", "launch.reconstruct", "--image=photo.png"]
    result = subprocess.run(
        [*command, f"--checkpoint={tmp_path / 'nowhere'}"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if not line.startswith(("I0", "I1", "WARNING"))]
    assert len(errors) == 1 and "nowhere" in errors[0] and "error:" in errors[0]


def test_names_of_outputs_do_not_collide():
    assert reconstruction.unique_names(["a/cup.png", "b/cup.jpg", "cup-2.png"]) == ["cup", "cup-2", "cup-2-2"]


@pytest.mark.parametrize("masked", [True, False])
def test_a_model_that_saw_photographs_is_fed_the_photograph(masked):
    rgb = np.random.default_rng(0).uniform(0, 0.9, (40, 40, 3)).astype(np.float32)
    mask = np.zeros((40, 40), np.float32)
    mask[14:30, 10:30] = 1
    fed = []

    def predict(image):
        fed.append(image)
        return Prediction(jnp.asarray(VERTICES)[None], FACES, texels=jnp.asarray(TEXELS, jnp.float32)[None])

    result = reconstruction.reconstruct(predict, rgb, mask, {**CONFIG.data, "input_masked": masked})
    assert (fed[0][0, 0, 0] == 1).all() == masked  # a corner: white paper, or what the photograph shows there
    assert (result.picture[0, 0] == 1).all()
