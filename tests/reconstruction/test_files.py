"""``launch.reconstruct``: pictures in, meshes out, one clear line for everything wrong with the input."""

import struct
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from absl.testing import flagsaver
from flax import nnx
from ml_collections import ConfigDict
from PIL import Image
from scipy.ndimage import binary_erosion

import ast_jax.reconstruction.reconstruct as reconstruct_file
import ast_jax.reconstruction.result as result_file
import ast_jax.reconstruction.write as files
import launch.reconstruct
from ast_jax.data.crop import Box, crop_to_mask
from ast_jax.data.photo import load_photo
from ast_jax.datasets.photo_list import list_photos
from ast_jax.export import draw_views
from ast_jax.files.output_folder import OutputFolder, unique_names
from ast_jax.model.template import sphere
from ast_jax.prediction import Prediction
from ast_jax.pretrained.saliency import DoubtfulMask
from ast_jax.reconstruction import MeshSettings, Reconstruction, Reconstructor, check_files, reconstruct_files
from render import FaceTexels, orbit

BALL = sphere(2)
VERTICES, FACES = BALL.vertices, BALL.faces
VERTICES = (VERTICES * [0.2, 0.15, 0.4] + [0, 0.1, 0] * (VERTICES[:, 2:] > 0.8)).astype(np.float32)
TEXELS = np.broadcast_to(0.5 + 0.5 * (VERTICES[FACES].mean(1) > 0)[:, None, None] * 1.0, (len(FACES), 2, 2, 3))
CONFIG = ConfigDict({"data": {"image_size": 32, "background": (1.0, 1.0, 1.0)}})


class KnowsOneObject(nnx.Module):
    """Stands for a trained model: whatever the picture, the object is the one that was photographed."""

    level, is_symmetric = 2, True

    def __init__(self):
        self.colour = nnx.Param(jnp.asarray(TEXELS, jnp.float32) * 0.8)

    def __call__(self, image):
        assert image.shape[1:] == (32, 32, 4)
        return Prediction(jnp.asarray(VERTICES)[None], FACES, texture=FaceTexels(self.colour[...][None]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """One object, photographed; object and background in every way that is accepted."""
    folder = tmp_path_factory.mktemp("photos")
    camera = orbit(2.732, np.radians([20.0]), np.radians([60.0]), np.pi / 6)
    texture = FaceTexels(np.asarray(TEXELS * 0.8, np.float32)[None])
    rgb = draw_views(VERTICES, FACES, camera, texture=texture, image_size=(90, 90))[0]
    cover = 255 - draw_views(VERTICES, FACES, camera, colour=(0.0, 0.0, 0.0), image_size=(90, 90))[0][..., 0]
    Image.fromarray(np.dstack([rgb, cover])).save(folder / "alpha.png")
    Image.fromarray(rgb).save(folder / "plain.png")
    Image.fromarray(cover).save(folder / "mask.png")
    Image.fromarray(cover[:50]).save(folder / "wrong_size.png")
    Image.fromarray(np.zeros_like(cover)).save(folder / "empty_mask.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "corrupt.png").write_bytes((folder / "alpha.png").read_bytes()[:200])
    return folder


def knows_one_object(**options):
    return Reconstructor(KnowsOneObject(), CONFIG.data, **options)


def run(photos, output, images, masks=(), **options):
    paths = [str(photos / name) for name in images]
    masks = [str(photos / name) for name in masks]
    return reconstruct_files(knows_one_object(), paths, output, masks=masks, **options)


@pytest.fixture
def quick(monkeypatch):
    """The photograph and its mask go the usual way; the mesh, its camera and its pictures are the same for all."""

    def finish(self, image, prediction, photo, mask, name, refine_steps):
        options = dict(padding=0.1, background=(1.0, 1.0, 1.0))
        picture, cover = crop_to_mask(photo.rgb, mask, 256, **options)
        around = crop_to_mask(photo.rgb, mask, 256, masked=False, **options)[0]
        camera = orbit(2.732, np.zeros(1), np.zeros(1), np.pi / 6)
        mesh, place = (VERTICES, FACES, 2, True, None), (camera, Box(0.0, 0.0, 90.0), mask.shape, 0.9)
        words = dict(found_by=photo.found_by, notices=photo.notices, settings=MeshSettings(texture_size=64))
        return Reconstruction(name, picture, cover, around, picture, cover, *mesh, *place, **words)

    monkeypatch.setattr(Reconstructor, "_finish", finish)
    monkeypatch.setattr(result_file, "draw_views", lambda *_, **__: np.zeros((1, 256, 256, 3), np.uint8))


def test_files_of_one_picture(photos, tmp_path):
    assert run(photos, tmp_path, ["alpha.png"], formats=["obj"], turntable=True) == []
    assert {p.name for p in tmp_path.iterdir()} == {
        "alpha.glb",
        "alpha.obj",
        "alpha.mtl",
        "alpha_texture.png",
        "alpha_camera.json",
        "alpha.png",
        "alpha.gif",
        "index.html",
        "written.sha256",
    }
    mesh = trimesh.load(tmp_path / "alpha.glb", process=False).to_geometry()
    np.testing.assert_allclose(mesh.vertices[mesh.faces], VERTICES[FACES], atol=1e-6)
    panels = np.asarray(Image.open(tmp_path / "alpha.png")).astype(int)
    assert panels.shape == (256, 1024, 3)
    # the mesh, drawn from the camera that was found, looks like the picture
    assert np.abs(panels[:, :256] - panels[:, 256:512]).mean() < 8
    assert "alpha" in (tmp_path / "index.html").read_text()
    with Image.open(tmp_path / "alpha.gif") as gif:
        assert gif.n_frames > 10


def test_mask_file_tells_the_same_object_as_alpha(photos):
    model = knows_one_object()
    pairs = [("alpha.png", None), ("plain.png", photos / "mask.png"), ("plain.png", None)]
    found = [model.reconstruct(photos / image, mask) for image, mask in pairs]
    assert all(result.mask_iou > 0.93 for result in found)
    np.testing.assert_allclose(found[0].picture, found[1].picture, atol=0.02)


def test_refinement_is_reported(photos):
    model = knows_one_object()
    plain = model.reconstruct(photos / "alpha.png")
    refined = model.reconstruct(photos / "alpha.png", refine_steps=20)
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
    monkeypatch.setattr("ast_jax.reconstruction.by_name.load_model", lambda run_dir: (KnowsOneObject(), CONFIG))
    images = [str(photos / "alpha.png"), str(photos / "missing.png")]
    with flagsaver.flagsaver(checkpoint="run", image=images, output=str(tmp_path)):
        with pytest.raises(SystemExit, match="error: .*missing.png") as stop:
            launch.reconstruct.main([])
    assert len(str(stop.value).splitlines()) == 1
    assert "index.html" in capsys.readouterr().out


def test_missing_checkpoint_is_one_line(photos, tmp_path):
    command = [sys.executable, "-m", "launch.reconstruct", f"--image={photos / 'alpha.png'}", f"--output={tmp_path}"]
    result = subprocess.run(
        [*command, f"--checkpoint={tmp_path / 'nowhere'}"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if not line.startswith(("I0", "I1", "WARNING"))]
    assert len(errors) == 1 and "nowhere" in errors[0] and "error:" in errors[0]


def test_names_of_outputs_do_not_collide():
    names = [
        "a/cup.png",
        "b/cup.jpg",
        "cup-2.png",
        "CUP.png",
        "鳥 1.png",
        "n\udcff.png",
        "a\nb.png",
        "x" * 250 + ".png",
    ]
    found = unique_names(names)
    assert found == ["cup", "cup-2", "cup-2-2", "CUP-3", "鳥 1", "n_", "a_b", "x" * 180]


def test_results_beside_the_photographs_replace_nothing(photos, tmp_path, quick):
    """In the folder of the photographs, again with the same command, and after somebody changed a result."""
    for name in ("alpha.png", "plain.png"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    (tmp_path / "alpha.glb").write_bytes(b"the user's")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ours = {f"{stem}{suffix}" for stem in ("alpha-2", "plain-2") for suffix in (".glb", ".png", "_camera.json")}
    for _ in range(2):
        assert reconstruct_files(knows_one_object(), [str(tmp_path)], tmp_path) == []
        assert {p.name for p in tmp_path.iterdir()} == {*before, *ours, "index.html", "written.sha256"}
    (tmp_path / "plain-2.glb").write_bytes(b"edited")
    before["plain-2.glb"] = b"edited"
    assert reconstruct_files(knows_one_object(), [str(tmp_path / "plain.png")], tmp_path) == []
    assert (tmp_path / "plain-3.glb").is_file()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_page_of_the_user_is_refused_before_the_work(photos, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="index.html: is not of this command; choose another --output"):
        run(photos, tmp_path, ["alpha.png"])
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]
    (tmp_path / "index.html").unlink()
    (tmp_path / "written.sha256").write_text("my notes\n")
    with pytest.raises(ValueError, match="written.sha256: was not written by this command"):
        run(photos, tmp_path, ["alpha.png"])


def test_a_log_that_was_cut_is_mended(tmp_path):
    OutputFolder(tmp_path).write("a", b"1")
    with open(tmp_path / "written.sha256", "a") as log:
        log.write("0123")
    folder = OutputFolder(tmp_path)
    folder.write("b", b"2")
    assert folder.is_ours(tmp_path / "a") and OutputFolder(tmp_path).is_ours(tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="was not written by this command"):
        folder.write("c", b"3")


def test_commas_in_names_lists_and_folders(tmp_path):
    for name in ("two, birds.png", "a.png", "b.png", "sub/c.png", "sub/c_mask.png", "sub/d.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name, format="PNG")
    comma, a, b, sub = (str(tmp_path / name) for name in ("two, birds.png", "a.png", "b.png", "sub"))
    photos, problems, notices = list_photos([comma, f"{a},{b}", sub])
    assert [(str(image), mask and mask.name) for image, mask in photos] == [
        (comma, None),
        (a, None),
        (b, None),
        (f"{sub}/c.png", "c_mask.png"),
    ]
    assert problems == [] and len(notices) == 1 and "d.heic" in notices[0]
    assert list_photos([comma, a], [f"{b},{b}"])[0] == [(Path(comma), Path(b)), (Path(a), Path(b))]
    with pytest.raises(ValueError, match="goes with files"):
        list_photos([sub], [a])
    with pytest.raises(ValueError, match="no file given"):
        list_photos([""])
    (tmp_path / "empty").mkdir()
    photos, problems, _ = list_photos([str(tmp_path / "empty"), a])
    assert len(photos) == 1 and "no picture there" in problems[0]


def test_whatever_a_picture_raises_the_others_are_done(photos, tmp_path, monkeypatch, quick):
    errors = [MemoryError(), RecursionError("deep"), KeyError("x"), struct.error("cut")]
    raised = iter(errors)

    def load(image, mask, find_object):
        if image.name == "plain.png":
            raise next(raised)
        return load_photo(image, mask)

    monkeypatch.setattr(reconstruct_file, "load_photo", load)
    problems = [line for _ in range(3) for line in run(photos, tmp_path, ["plain.png"])]
    problems += run(photos, tmp_path, ["plain.png", "alpha.png"])
    for problem, error in zip(problems, errors, strict=True):
        assert "plain.png: " in problem and type(error).__name__ in problem
    assert (tmp_path / "alpha.glb").is_file()


def test_the_mask_is_shown_and_pages_stay_small(photos, tmp_path, monkeypatch, quick):
    monkeypatch.setattr(files, "_PAGE_SIZE", 2)
    assert run(photos, tmp_path, ["alpha.png", "plain.png", "plain.png"], ["mask.png"] * 3) == []
    first, second = (tmp_path / name for name in ("index.html", "index-2.html"))
    assert first.read_text().count("<article") == 2 and second.read_text().count("<article") == 1
    assert "mask: mask file mask.png" in first.read_text() and "More on index-2.html" in first.read_text()
    panel = np.asarray(Image.open(tmp_path / "alpha.png"))[:, 768:]
    drawn = (panel == (213, 94, 0)).all(-1)
    mask = np.asarray(Image.open(photos / "mask.png").resize((256, 256))) > 127
    # As long as the outline of the mask, two pixels wide, enlarged by the crop.
    outline = mask & ~binary_erosion(mask)
    assert outline.sum() / 2 < drawn.sum() < outline.sum() * 6


@pytest.mark.parametrize("masked", [True, False])
def test_a_model_that_saw_photographs_is_fed_the_photograph(masked, monkeypatch, quick):
    rgb = np.random.default_rng(0).uniform(0, 0.9, (40, 40, 3)).astype(np.float32)
    mask = np.zeros((40, 40), np.float32)
    mask[14:30, 10:30] = 1
    fed = []
    monkeypatch.setattr(
        reconstruct_file, "make_predictor", lambda model, takes_camera: lambda image, camera: fed.append(image)
    )
    model = Reconstructor(KnowsOneObject(), {**CONFIG.data, "input_masked": masked})
    result = model.reconstruct(rgb, mask)
    assert (fed[0][0, 0, 0, :3] == 1).all() == masked  # a corner: white paper, or what the photograph shows there
    assert (result.picture[0, 0] == 1).all()


def test_several_objects_are_done_one_by_one_and_as_a_scene(photos, tmp_path, quick):
    """Names that are taken, by other photographs or by their parts, are not taken again."""
    one = np.asarray(Image.open(photos / "alpha.png"))
    Image.fromarray(np.concatenate([one, one], 1)).save(tmp_path / "a.png")
    Image.fromarray(np.concatenate([one, one[::-1]], 1)).save(tmp_path / "a-1.png")
    assert reconstruct_files(knows_one_object(), [str(tmp_path)], tmp_path / "out") == []
    found = {p.stem for p in (tmp_path / "out").glob("*.png")}
    assert found == {"a-1-1", "a-1-2", "a-1-3", "a-2"}  # those of a-1.png, which comes first, then those of a.png
    for name in ("a", "a-1"):
        scene = trimesh.load(tmp_path / "out" / f"{name}.glb", process=False)
        assert len(scene.geometry) == 2
    assert (tmp_path / "out" / "index.html").read_text().count("<article") == 4


def test_a_mask_in_doubt_is_an_error_that_shows_it(photos, tmp_path, quick):
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")

    def find(rgb):
        raise DoubtfulMask("it is a guess", np.full(rgb.shape[:2], 0.5, np.float32))

    model = knows_one_object(find_object=find)
    problems = reconstruct_files(model, [str(tmp_path / "noise.png"), str(photos / "alpha.png")], tmp_path / "out")
    assert len(problems) == 1 and "it is a guess" in problems[0] and "noise-mask.png shows it" in problems[0]
    shown = np.asarray(Image.open(tmp_path / "out" / "noise-mask.png"))
    assert shown.shape == (30, 40) and (shown == 128).all()
    assert (tmp_path / "out" / "alpha.glb").is_file()


def test_what_can_be_known_is_said_before_a_model_is_loaded(tmp_path):
    photo, gone = str(tmp_path / "a.png"), str(tmp_path / "gone.png")
    Image.new("RGB", (8, 8)).save(photo)
    check_files([photo, gone], tmp_path / "out")  # one is there: it is done, and the other is named
    for images, masks, formats, says in (
        ([gone], [], [], "gone.png: no such file"),
        ([photo], [gone], [], "gone.png: no such file"),
        ([photo, photo], [photo], [], "1 files for 2 pictures"),
        ([photo], [], ["objj"], "did you mean 'obj'"),
    ):
        with pytest.raises(ValueError, match=says):
            check_files(images, tmp_path / "new", masks=masks, formats=formats)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="a.png: cannot be made a folder"):
        check_files([photo], photo)
    with pytest.raises(ValueError, match="cannot be written to"):
        check_files([photo], "/proc/self")  # even root makes no file there
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="index.html: is not of this command"):
        check_files([photo], tmp_path / "theirs")
