import numpy as np
import PIL
import pytest
from PIL import Image

from ast_jax.data.crop import object_box
from ast_jax.data.masks import objects_of
from ast_jax.data.photo import load_photo, plain_background_mask

HEIGHT, WIDTH = 40, 60


def disc(height=HEIGHT, width=WIDTH, radius=12):
    y, x = np.mgrid[:height, :width]
    return (x - width / 2) ** 2 + (y - height / 2) ** 2 < radius**2


def on_plain_ground(ground=(250, 250, 250), colour=(180, 40, 30)):
    return np.where(disc()[..., None], np.uint8(colour), np.uint8(ground))


def pair(photo):
    return photo.rgb, photo.mask


def save(picture, path, **options):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "YCbCr", "1"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_every_mode_on_a_plain_ground(tmp_path, mode, suffix):
    picture = Image.fromarray(on_plain_ground()).convert(mode, dither=Image.Dither.NONE)
    if (mode, suffix) in [("P", "jpg"), ("CMYK", "png"), ("YCbCr", "png"), ("YCbCr", "tif")]:
        picture = picture.convert("RGB")  # the format does not know the mode
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    rgb, mask = pair(load_photo(save(picture, tmp_path / f"a.{suffix}", **options)))
    assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == mask.dtype == np.float32
    assert 0 <= rgb.min() and rgb.max() <= 1
    overlap = ((mask > 0.5) & disc()).sum() / ((mask > 0.5) | disc()).sum()
    assert overlap > 0.9
    reference = np.asarray(picture.convert("RGB"), np.float32) / 255
    assert np.abs(rgb - reference).mean() < 0.02


def test_uncompressed_ycbcr_tiff(tmp_path):
    path = save(Image.fromarray(on_plain_ground()).convert("YCbCr"), tmp_path / "a.tif")
    if int(PIL.__version__.split(".")[0]) >= 13:
        rgb, mask = pair(load_photo(path))
        np.testing.assert_allclose(rgb[HEIGHT // 2, WIDTH // 2], np.array([180, 40, 30]) / 255, atol=0.01)
    else:
        with pytest.raises(ValueError, match="uncompressed YCbCr TIFF.*save it as RGB"):
            load_photo(path)


def test_sixteen_bits_keep_their_depth(tmp_path):
    grey = np.where(disc(), 3000, 65535).astype(np.uint16)
    rgb, mask = pair(load_photo(save(grey, tmp_path / "a.png")))
    np.testing.assert_allclose(rgb[HEIGHT // 2, WIDTH // 2], [3000 / 65535] * 3, atol=1e-5)
    np.testing.assert_array_equal(mask > 0.5, disc())


def test_float_pictures(tmp_path):
    rgb, mask = pair(load_photo(save(np.where(disc(), 0.25, 1.0).astype(np.float32), tmp_path / "a.tif")))
    assert rgb[HEIGHT // 2, WIDTH // 2, 0] == 0.25
    np.testing.assert_array_equal(mask > 0.5, disc())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_alpha_is_the_mask(tmp_path, mode):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgba = np.concatenate([noise, disc()[..., None] * np.uint8(255)], -1)
    if mode == "P":
        index = np.where(disc(), 1, 0).astype(np.uint8)
        picture = Image.fromarray(index)
        picture = picture.convert("P")
        picture.putpalette([0, 0, 0, 200, 100, 50])
        path = save(picture, tmp_path / "a.png", transparency=0)
    else:
        suffix = "tif" if mode == "PA" else "png"
        path = save(Image.fromarray(rgba).convert("RGBA" if mode == "PA" else mode), tmp_path / f"a.{suffix}")
    _, mask = pair(load_photo(path))
    np.testing.assert_array_equal(mask > 0.5, disc())


def test_soft_alpha_stays_soft_and_colour_straight(tmp_path):
    rgba = np.full((4, 4, 4), (200, 100, 50, 51), np.uint8)
    rgba[1:3, 1:3, 3] = 255
    rgb, mask = pair(load_photo(save(rgba, tmp_path / "a.png")))
    assert mask[0, 0] == pytest.approx(0.2)
    np.testing.assert_allclose(rgb[0, 0] * 255, [200, 100, 50], atol=0.01)


def mask_picture(kind):
    grey = Image.fromarray(disc().astype(np.uint8) * 255)
    if kind == "zero and one":
        return Image.fromarray(disc().astype(np.uint8))
    if kind == "palette":
        labels = Image.fromarray(disc().astype(np.uint8) * 3).convert("P")
        labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 90])
        return labels
    if kind == "alpha":
        return Image.merge("LA", [Image.new("L", grey.size, 7), grey])
    if kind == "16 bit":
        return Image.fromarray(disc().astype(np.uint16) * 65535)
    return grey.convert(kind)


@pytest.mark.parametrize("kind", ["L", "1", "RGB", "RGBA", "zero and one", "palette", "alpha", "16 bit"])
def test_mask_files(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    photo = save(noise, tmp_path / "photo.png")
    rgb, mask = pair(load_photo(photo, save(mask_picture(kind), tmp_path / "mask.png")))
    np.testing.assert_array_equal(mask, disc().astype(np.float32))
    np.testing.assert_allclose(rgb * 255, noise, atol=1e-3)


def test_bad_masks(tmp_path):
    photo = save(on_plain_ground(), tmp_path / "photo.png")
    with pytest.raises(ValueError, match=r"has 30 x 20 px, the picture .*photo.png has 60 x 40 px"):
        load_photo(photo, save(disc(20, 30).astype(np.uint8) * 255, tmp_path / "small.png"))
    with pytest.raises(ValueError, match=r"black.png.*mask is empty"):
        load_photo(photo, save(np.zeros((HEIGHT, WIDTH), np.uint8), tmp_path / "black.png"))
    with pytest.raises(ValueError, match="no such file"):
        load_photo(photo, tmp_path / "nothing.png")


def test_exif_orientation_turns_the_picture(tmp_path):
    upright = on_plain_ground()
    upright[:, :20] = (10, 200, 10)  # the left third is green
    stored = Image.fromarray(np.rot90(upright))  # a quarter turn against the clock; 6 asks to undo it
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(stored, tmp_path / "a.jpg", exif=exif, quality=95)
    rgb, _ = pair(load_photo(path, save(disc().astype(np.uint8) * 255, tmp_path / "mask.png")))
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(rgb[20, 5] * 255, [10, 200, 10], atol=8)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", "cut"])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.png"
    if content == "cut":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        content = save(noise, tmp_path / "whole.png").read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken.png: not a readable picture"):
        load_photo(path)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        load_photo(tmp_path / "a.png")


def test_transparent_picture(tmp_path):
    with pytest.raises(ValueError, match="transparent everywhere"):
        load_photo(save(np.zeros((8, 8, 4), np.uint8), tmp_path / "a.png"))


def cluttered():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def gradient():
    return np.repeat(np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None], HEIGHT, 0).repeat(3, -1)


def two_things():
    picture = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
    picture[10:30, 5:20] = picture[10:30, 35:50] = 20
    return picture


def confetti():
    picture = on_plain_ground()
    picture[2:6:2, 2:-2:2] = picture[-6:-2:2, 2:-2:2] = 20
    picture[2:-2, 2:10:2] = picture[2:-2, -10:-2:2] = 20
    picture[3:-3:2, 2:10] = picture[3:-3:2, -10:-2] = 250
    return picture


def faint():
    return on_plain_ground(colour=(226, 226, 226))


@pytest.mark.parametrize(
    "picture, reason",
    [
        (cluttered(), "not of one colour"),
        (gradient(), "not of one colour"),
        (confetti(), "many small things"),
        (faint(), "too near"),
        (np.full((HEIGHT, WIDTH, 3), 99, np.uint8), "no object"),
    ],
)
def test_unsure_pictures_are_refused_with_advice(tmp_path, picture, reason):
    with pytest.raises(ValueError, match=rf"{reason}.*--mask FILE"):
        load_photo(save(picture, tmp_path / "a.png"))


def test_two_things_before_a_plain_ground_are_two_objects(tmp_path):
    photo = load_photo(save(two_things(), tmp_path / "a.png"))
    np.testing.assert_array_equal(photo.mask > 0.5, two_things()[..., 0] == 20)
    assert [part.sum() for part in objects_of(photo.mask)] == [300, 300]


def test_objects_of_a_mask_add_up_to_it():
    """Two that are alike and a third cut in two by a branch: the smaller part belongs to what is nearest."""
    mask = np.zeros((40, 90), np.float32)
    mask[5:35, 2:22] = mask[5:35, 66:86] = 1  # 600 px each
    mask[8:30, 30:50] = 0.9  # 440
    mask[33:37, 32:50] = 1  # 72: less than a quarter of 600
    parts = objects_of(mask)
    np.testing.assert_array_equal(sum(parts), mask)
    assert [int((part > 0.5).sum()) for part in parts] == [600, 600, 512]
    assert parts[2][35, 40] == 1 and parts[2][20, 40] == np.float32(0.9)
    assert objects_of(mask[:, :60])[1].sum() > 0 and len(objects_of(mask[:, :25])) == 1
    assert len(objects_of(np.zeros((4, 4), np.float32))) == 1


@pytest.mark.parametrize("kind", ["file", "image", "bytes", "floats", "path"])
def test_a_photograph_in_memory_is_one_in_a_file(tmp_path, kind):
    picture, cover = cluttered(), disc().astype(np.uint8) * 255
    path, mask_path = save(picture, tmp_path / "a.png"), save(cover, tmp_path / "m.png")
    source = {"file": str(path), "path": path, "image": Image.open(path), "bytes": picture, "floats": picture / 255.0}
    mask = {"file": mask_path, "path": mask_path, "image": Image.open(mask_path), "bytes": cover, "floats": disc()}
    photo = load_photo(source[kind], mask[kind])
    np.testing.assert_allclose(photo.rgb * 255, picture, atol=1e-3)
    np.testing.assert_array_equal(photo.mask > 0.5, disc())
    assert photo.found_by == ("mask file m.png" if kind in ("file", "path") else "mask")


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.full((4, 4, 3), 200.0), "200"),
        (np.full((4, 4, 3), np.nan), "nan"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(ValueError, match=message):
        load_photo(array)


def test_where_nothing_tells_the_object_the_network_is_asked(tmp_path):
    """Order: mask, alpha, plain background, network."""
    asked = []

    def find(rgb):
        asked.append(rgb)
        return disc().astype(np.float32)

    photo = load_photo(save(cluttered(), tmp_path / "a.png"), find_object=find)
    np.testing.assert_array_equal(photo.mask, disc().astype(np.float32))
    assert photo.found_by == "found by a network" and len(asked) == 1
    load_photo(save(on_plain_ground(), tmp_path / "b.png"), find_object=find)
    load_photo(cluttered(), disc(), find_object=find)
    assert len(asked) == 1
    with pytest.raises(ValueError, match=r"a.png: no mask.*--mask FILE.*ast-jax\[photo\]"):
        load_photo(tmp_path / "a.png")


def test_holes_of_the_ground_colour_are_filled_and_specks_dropped():
    picture = on_plain_ground().astype(np.float32) / 255
    picture[18:22, 28:32] = 250 / 255
    picture[2, 3] = 0.0
    mask, notices = plain_background_mask(picture)
    np.testing.assert_array_equal(mask, disc())
    assert notices == ("smaller things beside the object, 1 px, are left out",)


def test_a_picture_of_one_pixel(tmp_path):
    with pytest.raises(ValueError, match="no object"):
        load_photo(save(np.zeros((1, 1, 3), np.uint8), tmp_path / "a.png"))


def screenshot(kind):
    """An object on a plain ground with an alpha channel that is no cut-out of it."""
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    if kind == "nearly opaque":
        alpha[:] = 254
    if kind == "half a border":
        alpha[:2], alpha[:, -2:] = 100, 0
    if kind == "rounded":
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        far = np.hypot(*(np.maximum(abs(v - (n - 1) / 2) - ((n - 1) / 2 - 8), 0) for v, n in ((y, HEIGHT), (x, WIDTH))))
        alpha[far > 8] = 0
    colour = on_plain_ground()
    colour[alpha == 0] = 0  # as many programs leave it
    return np.dstack([colour, alpha])


@pytest.mark.parametrize("kind", ["nearly opaque", "rounded", "half a border"])
def test_alpha_that_is_no_cut_out_is_no_mask(tmp_path, kind):
    photo = load_photo(save(screenshot(kind), tmp_path / "a.png"))
    np.testing.assert_array_equal(photo.mask > 0.5, disc())
    assert photo.found_by == "plain background" and "not taken as the mask" in photo.notices[0]
    assert np.abs(photo.rgb[~disc()] * 255 - 250).max() < 4  # transparent corners show the ground
    cluttered_one = np.dstack([cluttered(), screenshot(kind)[..., 3]])
    with pytest.raises(ValueError, match=r"b.png: no mask \(its alpha channel is opaque .*--mask FILE"):
        load_photo(save(cluttered_one, tmp_path / "b.png"))


def test_a_rectangle_that_alpha_cuts_out_is_taken_and_told(tmp_path):
    """A box from the front, or a picture in a transparent margin: nothing in the file says which."""
    for shape, told in ((np.ones((HEIGHT // 2, WIDTH // 2), bool), True), (disc(), False)):
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        alpha[: shape.shape[0], : shape.shape[1]] = 255 * shape
        photo = load_photo(save(np.dstack([cluttered(), alpha]), tmp_path / "a.png"))
        assert photo.found_by == "alpha channel" and [("rectangle" in n) for n in photo.notices] == [True] * told
        np.testing.assert_array_equal(photo.mask > 0.5, alpha > 0)


@pytest.mark.parametrize("way", ["alpha", "mask"])
def test_a_stray_pixel_does_not_set_the_box(tmp_path, way):
    """The disc spans 24 - 1 pixels: every pixel centre less than 12 from its centre."""
    mask = disc() * np.uint8(255)
    mask[1, 1] = 255
    if way == "alpha":
        photo = load_photo(save(np.dstack([on_plain_ground(), mask]), tmp_path / "a.png"))
    else:
        photo = load_photo(save(cluttered(), tmp_path / "a.png"), save(mask, tmp_path / "m.png"))
    assert object_box(photo.mask, padding=0.0).side == 23
    assert photo.notices == ("1 stray part of the mask, 1 px, is left out",)
    assert photo.found_by == {"alpha": "alpha channel", "mask": "mask file m.png"}[way]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_drawn_before_the_turn_are_turned_with_the_picture(tmp_path, orientation):
    """EXIF 2.32, tag 274: what of the stored picture is the visual top and left."""
    stored = on_plain_ground()
    stored[:, :20], stored[:8] = (10, 200, 10), (10, 10, 200)  # a different sight for every turn
    mask = (disc() | (np.mgrid[:HEIGHT, :WIDTH][1] < 15)).astype(np.uint8) * 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored, tmp_path / "a.png", exif=exif)
    photo = load_photo(path, save(mask, tmp_path / "m.png"))
    unturned = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1)}
    unturned |= {6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}
    turn = unturned[orientation]
    np.testing.assert_allclose(photo.rgb * 255, turn(stored), atol=0.01)
    if orientation >= 5:
        np.testing.assert_array_equal(photo.mask, turn(mask) / 255)
        assert "turned with it" in photo.notices[0]
        upright = load_photo(path, save(np.ascontiguousarray(turn(mask)), tmp_path / "u.png"))
        np.testing.assert_array_equal(upright.mask, photo.mask)
        assert upright.notices == ()
    else:  # fits both ways: an editor shows the picture upright
        np.testing.assert_array_equal(photo.mask, mask / 255)
        assert "taken as drawn after it" in photo.notices[0]
    own = save(mask, tmp_path / "own.png", exif=exif)  # a mask with the same EXIF data turns by itself
    np.testing.assert_array_equal(load_photo(path, own).mask, turn(mask) / 255)
