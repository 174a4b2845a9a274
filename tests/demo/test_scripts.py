"""What the page does with a photograph, against the same in Python."""

import numpy as np
import pytest

from ast_jax.data.crop import object_box
from ast_jax.data.masks import is_cut_out, objects_of
from ast_jax.data.pipeline import photo_input
from ast_jax.evaluation.mask_iou import mask_iou
from ast_jax.model.template import sphere
from ast_jax.pretrained import saliency
from ast_jax.reconstruction.fit import align_to_mask
from render import orbit, rasterize
from tests.demo.scripts import call, needs_node

pytestmark = needs_node
DATA = {"image_size": 16, "crop_padding": 0.25, "background": [1.0, 0.5, 1.0]}
RNG = np.random.default_rng(0)
BALL = sphere(2)
BODY = (0.4 * BALL.vertices * [0.5, 0.7, 1.0]).astype(np.float32)


def photograph(height=37, width=52):
    """Bytes RGBA that are noise, and a soft mask of one object that touches the border."""
    rgba = RNG.integers(0, 256, (height, width, 4), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    mask = np.clip(1.5 - np.hypot((rows - 20) / 12, (columns - 40) / 16), 0, 1).astype(np.float32)
    return rgba, mask


def as_script(rgba) -> dict:
    return {"width": rgba.shape[1], "height": rgba.shape[0], "rgba": rgba.ravel().tolist()}


@pytest.mark.parametrize("image_size", [16, 64])
def test_what_the_model_sees(image_size):
    """Made smaller and made larger; weights are float64 there and float32 here."""
    rgba, mask = photograph()
    rgb = rgba[..., :3].astype(np.float32) / 255
    data = DATA | {"image_size": image_size}
    expression = """(() => { const [photo, mask, data] = args;
        const box = AstPicture.objectBox(mask, photo.width, photo.height, data.crop_padding);
        return [box, AstPicture.modelInput(photo, mask, box, data)]; })()"""
    box, found = call(expression, as_script(rgba), mask.ravel().tolist(), data)
    wanted = object_box(mask, padding=0.25)
    assert box == {"left": wanted.left, "top": wanted.top, "side": wanted.side}
    config = {"image_size": image_size, "crop_padding": 0.25, "background": (1.0, 0.5, 1.0), "input_masked": True}
    np.testing.assert_allclose(
        np.reshape(found, (image_size, image_size, 4)), photo_input(rgb, mask, config), atol=1e-6
    )


def test_what_the_mask_network_sees_and_says(monkeypatch):
    """Pillow, which resizes in Python, rounds to bytes after each axis: two halves of a level, and 200 is the most."""
    rgba, _ = photograph(50, 70)
    seen, answer = [], RNG.uniform(size=(1, 1, 32, 32)).astype(np.float32)

    class Session:
        def run(self, _, feeds):
            seen.append(feeds["x"])
            return [answer]

    finder = saliency.SalientObject.__new__(saliency.SalientObject)
    finder.name, finder._session, finder._size, finder._input = "net", Session(), (32, 32), "x"
    monkeypatch.setattr(saliency, "_check", lambda mask: None)
    mask = finder(rgba[..., :3].astype(np.float32) / 255)
    found = call("AstPicture.saliencyInput(args[0], 32)", as_script(rgba))
    np.testing.assert_allclose(np.reshape(found, (1, 3, 32, 32)), seen[0], atol=1.01 / 200 / 0.224)
    found = call("AstPicture.saliencyMask(Float32Array.from(args[0]), 32, 70, 50)", answer.ravel().tolist())
    np.testing.assert_allclose(np.reshape(found, (50, 70)), mask, atol=1e-6)


def test_a_mask_that_is_not_to_be_trusted():
    clear, guess = np.zeros((20, 20)), np.zeros((20, 20))
    clear[5:15, 5:15], guess[5:15, 5:15] = 1, 0.6
    doubts = call("args.map(mask => AstPicture.doubt(mask))", *(m.ravel().tolist() for m in (clear, guess, 0 * clear)))
    assert doubts[0] == "" and "outline is nowhere clear" in doubts[1] and "0.0 %" in doubts[2]
    for mask, doubt in zip((clear, guess, 0 * clear), doubts):
        if doubt:
            with pytest.raises(saliency.DoubtfulMask):
                saliency._check(mask)
        else:
            saliency._check(mask)


def test_which_alpha_channels_are_cut_outs():
    rows, columns = np.mgrid[:40, :40]
    disc = np.hypot(rows - 19.5, columns - 19.5)
    alphas = [disc < 12, disc < 40, (disc < 12) & (disc > 6), disc > 12, disc < 0, (rows > 2) | (columns > 20)]
    photos = [np.dstack([np.zeros((40, 40, 3)), 255 * alpha]).astype(np.uint8) for alpha in alphas]
    found = call("args.map(photo => AstPicture.isCutOut(photo))", *map(as_script, photos))
    assert found == [is_cut_out(alpha.astype(np.float32)) for alpha in alphas]
    assert found == [True, False, True, False, False, False]


def test_the_largest_object_is_taken():
    rows, columns = np.mgrid[:40, :60]
    large = np.clip(12.5 - np.hypot(rows - 20, columns - 18), 0, 1)
    second = np.clip(8.5 - np.hypot(rows - 20, columns - 48), 0, 1)
    speck = ((rows == 2) & (columns == 57)).astype(float)
    expression = "AstPicture.largestObject(Float32Array.from(args[0]), 60, 40)"
    found = call(expression, (large + second + speck).ravel().tolist())
    assert found["others"] == 1
    wanted = objects_of((large + second).astype(np.float32))[0]
    np.testing.assert_allclose(np.reshape(found["mask"], (40, 60)), wanted, atol=1e-6)
    assert call(expression, large.ravel().tolist())["others"] == 0


def overlap(camera, drawn) -> float:
    """Of the body's hard silhouette with a mask."""
    ours = np.asarray(rasterize(camera.project(BODY[None]), BALL.faces, drawn.shape).face_id >= 0)
    return float(mask_iou(ours, drawn[None])[0])


def test_the_camera_covers_the_mask():
    """The silhouette is that of the renderer, so is its alignment, and a camera that was turned away is found again."""
    camera = orbit(2.732, np.array([0.3]), np.array([1.0]), 0.6)
    names = ("rotation", "translation", "focal", "principal")
    as_lists = {name: np.asarray(getattr(camera, name)).ravel().tolist() for name in names}
    mesh = {"vertices": BODY.ravel().tolist(), "faces": BALL.faces.ravel().tolist()}
    drawn = np.asarray(rasterize(camera.project(BODY[None]), BALL.faces, (48, 48)).face_id[0] >= 0)
    found = call("AstCamera.silhouette(args[0], args[1], 48)", mesh, as_lists)
    assert (np.reshape(found, (48, 48)) == drawn).mean() > 0.999  # centres on an edge may fall to either side
    depth = rasterize(camera.project(BODY[None]), BALL.faces, (48, 48), vertex_depth=camera.depth(BODY[None])).depth[0]
    depths = call("AstCamera.depths(args[0], args[1], 48)", mesh, as_lists)  # JSON has null for what is infinite
    seen = np.array([value is not None for value in depths]).reshape(48, 48) & drawn
    np.testing.assert_allclose(np.array(depths, float).reshape(48, 48)[seen], np.asarray(depth)[seen], rtol=1e-5)

    wrong = orbit(2.732, np.array([0.45]), np.array([1.2]), 0.7)
    start = {name: np.asarray(getattr(wrong, name)).ravel().tolist() for name in names}
    fit = call("AstCamera.fit(args[0], args[1], args[2], 48)", mesh, start, drawn.astype(float).ravel().tolist())
    aligned = align_to_mask(wrong, BODY, drawn.astype(np.float32))
    assert fit["overlap"] > max(0.97, overlap(aligned, drawn))
    found = type(camera)(
        *(np.reshape(fit["camera"][k], np.shape(getattr(camera, k))).astype(np.float32) for k in names)
    )
    assert abs(overlap(found, drawn) - fit["overlap"]) < 0.01


def test_a_camera_on_the_other_side_is_found():
    """A body without any symmetry, seen from behind at first."""
    body = BODY * [1, 1, 1.2] + np.where(BALL.vertices[:, 2:] > 0.3, [0.0, 0.2, 0.1], [0.0, 0.0, 0.0]).astype(
        np.float32
    )
    body = (body + np.where(BALL.vertices[:, :1] > 0.5, [0.15, -0.1, 0.0], [0.0, 0.0, 0.0])).astype(np.float32)
    mesh = {"vertices": body.ravel().tolist(), "faces": BALL.faces.ravel().tolist()}
    cameras = [orbit(2.732, np.array([0.4]), np.array([azimuth]), 0.6) for azimuth in (0.9, 0.9 + 0.75 * np.pi)]
    names = ("rotation", "translation", "focal", "principal")
    there, start = ({k: np.asarray(getattr(camera, k)).ravel().tolist() for k in names} for camera in cameras)
    mask = call("AstCamera.silhouette(args[0], args[1], 48)", mesh, there)
    here, around = call(
        "[AstCamera.fit(...args, 48).overlap, AstCamera.search(...args, 48)]", mesh, start, [float(v) for v in mask]
    )
    assert here < 0.9 and around["overlap"] > 0.96
    np.testing.assert_allclose(around["camera"]["rotation"], there["rotation"], atol=0.1)
