"""Draws the pictures of docs/render.md and prints its numbers, by running the Python that stands on the page.

Run: python -m benchmarks.render_pictures
The film at its top: python -m render.demo --output=docs/images/render
"""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from render import (
    CornerColours,
    DirectionalLight,
    FaceTexels,
    Mesh,
    PhongLight,
    SphericalHarmonicsLight,
    UVImage,
    VertexColours,
    icosphere,
    orbit,
    rasterize,
    render,
)
from render.demo import draw

PAGE = Path(__file__).resolve().parents[1] / "docs" / "render.md"
PICTURES = PAGE.parent / "images" / "render"
_INK = (60, 60, 60)
_GAP = 6


def page_code(page: Path = PAGE) -> str:
    """The Python blocks of the page, in order, as one program whose lines are numbered as those of the page."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        fence = line.startswith("```")
        inside = line == "```python" if fence else inside
        lines.append("" if fence or not inside else line)
    return "\n".join(lines)


def run_page(steps: int | None = None) -> dict:
    """Runs the page; its variables. `steps` takes the place of its STEPS."""
    code = page_code()
    if steps is not None:
        code, count = re.subn(r"^STEPS = \d+", f"STEPS = {steps}", code, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{PAGE} must set STEPS once, it does {count} times")
    variables: dict = {}
    exec(compile(code, str(PAGE), "exec"), variables)
    return variables


def bytes_of(image: np.ndarray, zoom: int = 1) -> np.ndarray:
    """RGB bytes of colours or grey values in [0, 1], each pixel enlarged to a square."""
    image = np.asarray(image, np.float64)
    image = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image
    return (np.kron(np.clip(image, 0, 1), np.ones((zoom, zoom, 1))) * 255 + 0.5).astype(np.uint8)


def save_grid(name: str, rows: list[list[np.ndarray]], above: list[str], left: list[str]) -> None:
    """Pictures of one size in rows, with a label above each column and, if any, left of each row."""
    font = ImageFont.load_default(15)
    height, width = rows[0][0].shape[:2]
    margin = 8 + max((int(font.getlength(text)) for text in left), default=0) if any(left) else _GAP
    columns, top = len(rows[0]), 26 if above else _GAP
    sheet = Image.new("RGB", (margin + columns * (width + _GAP), top + len(rows) * (height + _GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        y = top + i * (height + _GAP)
        pen.text((4, y + height / 2), left[i], fill=_INK, font=font, anchor="lm")
        for j, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (margin + j * (width + _GAP), y))
    for j, text in enumerate(above):
        pen.text((margin + j * (width + _GAP) + width / 2, 13), text, fill=_INK, font=font, anchor="mm")
    PICTURES.mkdir(parents=True, exist_ok=True)
    sheet.save(PICTURES / name, optimize=True)


def picture_draw(page: dict) -> None:
    """Colours and depth of the first block."""
    picture = page["picture"]
    depth = np.asarray(picture.depth)
    seen = depth > 0
    near, far = depth[seen].min(), depth[seen].max()
    shown = np.where(seen, 0.15 + 0.75 * (depth - near) / (far - near), 1.0)
    rows = [[bytes_of(image) for image in images] for images in (np.asarray(picture.rgb), shown)]
    save_grid("draw.png", rows, [], ["rgb", "depth"])


def picture_shape(page: dict) -> None:
    """Masks, the sphere and the fit."""
    shown = [0, 3, 6, 9]
    views = _pick(page["views"], shown)
    rows = [[bytes_of(page["masks"][i], 2)[:192, :192] for i in shown]]
    for points in (page["start"], page["shape"]):
        rows.append(list(draw(page["repeat"](points, 4), page["sphere_faces"], views, 192)))
    save_grid("shape.png", rows, [], ["mask", "start", "fit"])
    before, after = (
        float(page["iou"](_masks(page, points), page["masks"])) for points in (page["start"], page["shape"])
    )
    print(f"shape: silhouette IoU {before:.3f} -> {after:.3f}")


def picture_texture(page: dict) -> None:
    """A view between those of the fit: truth, start and fit; PSNR on the pixels of the object."""
    views = orbit(2.732, 0.15, jnp.array([0.9, 3.9]), 0.42)
    mesh = Mesh(page["repeat"](page["vertices"], 2), page["faces"])
    textures = {
        "truth": VertexColours(page["repeat"](page["colours"], 2)),
        "start": FaceTexels(page["repeat"](page["grey"][0], 2)),
        "fit": FaceTexels(page["repeat"](page["texels"][0], 2)),
    }
    seen = {
        name: render(mesh, views, (192, 192), texture=texture, blending="antialias")
        for name, texture in textures.items()
    }
    inside = np.asarray(seen["truth"].face_id) >= 0
    for name in ("start", "fit"):
        error = np.asarray(seen[name].rgb - seen["truth"].rgb)[inside]
        print(f"texture: PSNR of {name} in views that were not fitted {-10 * np.log10(np.mean(error**2)):.1f} dB")
    pictures = [bytes_of(picture.rgb[i]) for i in (0, 1) for picture in seen.values()]
    save_grid("texture.png", [pictures], 2 * list(seen), [""])


def picture_camera(page: dict) -> None:
    """The photograph, and what the cameras see before and after."""
    rotations = {name: page["view"](page[name]).rotation[0] for name in ("truth", "guess", "found")}
    for name in ("guess", "found"):
        trace = float(jnp.trace(rotations[name] @ rotations["truth"].T))
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        off = float(page[name]["distance"][0] / page["truth"]["distance"][0] - 1)
        print(f"camera: {name} is {angle:.1f} degrees off, distance {100 * off:+.1f} %")
    mesh, paint = page["one"], page["paint"]
    seen = {
        name: np.asarray(render(mesh, page["view"](page[name]), (192, 192), texture=paint, blending="antialias").rgb[0])
        for name in ("truth", "guess", "found")
    }
    # The two over each other show what is left.
    overlay = {name: 0.5 * (seen["truth"] + seen[name]) for name in ("guess", "found")}
    pictures = [seen["truth"], seen["guess"], overlay["guess"], seen["found"], overlay["found"]]
    labels = ["photograph", "start", "start over photograph", "found", "found over photograph"]
    save_grid("camera.png", [[bytes_of(picture) for picture in pictures]], labels, [""])


def picture_blending() -> None:
    """The four rules on a ball in front of a rod, pixels enlarged."""
    ball, faces = icosphere(1)
    rng = np.random.default_rng(3)
    hue = np.array([(0.86, 0.33, 0.24), (0.95, 0.68, 0.25), (0.98, 0.88, 0.62)])[rng.integers(0, 3, len(faces))]
    hue = np.repeat(hue[:, None], 3, axis=1)
    bar = 0.45 * icosphere(0)[0] * (0.35, 1.0, 0.35) + (0.24, 0.0, -0.5)
    points = np.concatenate([0.42 * ball - (0.12, 0.0, 0.0), bar])
    triangles = np.concatenate([faces, icosphere(0)[1] + len(ball)])
    hue = np.concatenate([hue, np.full((20, 3, 3), (0.2, 0.4, 0.65))])
    camera = orbit(2.732, 0.3, jnp.array([0.35]), 0.42, near=2.0, far=4.0)
    rules, rows = ("softmax", "layered", "hard", "antialias"), [[], []]
    for rule in rules:
        picture = render(
            Mesh(jnp.asarray(points, jnp.float32)[None], triangles), camera, (40, 40), blending=rule, sigma=2e-3,
            gamma=3e-2, texture=CornerColours(jnp.asarray(hue, jnp.float32)[None]),
        )  # fmt: skip
        rows[0].append(bytes_of(picture.rgb[0], 5))
        rows[1].append(bytes_of(picture.alpha[0], 5))
    save_grid("blending.png", rows, [f'"{rule}"' for rule in rules], ["rgb", "alpha"])


def picture_surface() -> None:
    """Textures without a light, and lights on one texture."""
    ball, faces = icosphere(3)
    coarse, few = icosphere(1)
    rng = np.random.default_rng(1)
    checks = (np.indices((128, 128)) // 16).sum(0)[..., None] % 2 * np.array([0.75, 0.35, 0.1]) + (0.2, 0.3, 0.4)
    uv = 0.5 + 0.5 * ball[faces][..., :2]
    texels = rng.random((len(few), 4, 4, 3))
    textures = {
        "VertexColours": (coarse, few, VertexColours(_one(rng.random(coarse.shape)))),
        "CornerColours": (coarse, few, CornerColours(_one(rng.random((len(few), 3, 3))))),
        "FaceTexels, 4 x 4": (coarse, few, FaceTexels(_one(texels))),
        "UVImage": (ball, faces, UVImage(_one(checks), jnp.asarray(uv, jnp.float32))),
    }
    white = jnp.ones((1, 3))
    sky = np.zeros((9, 3))
    sky[:4] = (2.0, 2.0, 2.2), (0.1, 0.3, 0.9), (0.5, 0.3, 0.1), (0.7, 0.1, -0.3)
    lights = {
        "None": None,
        "DirectionalLight": DirectionalLight(jnp.array([[1.0, 1.0, 1.0]]), 0.8 * white, 0.3 * white),
        "PhongLight": PhongLight(
            jnp.array([[1.0, 1.0, 1.0]]), 0.8 * white, 0.3 * white, 0.6 * white, jnp.array([30.0])
        ),
        "SphericalHarmonicsLight": SphericalHarmonicsLight(_one(sky)),
    }
    clay = VertexColours(_one(np.full(ball.shape, 0.7)))
    upper = [_ball(*scene, None) for scene in textures.values()]
    lower = [_ball(ball, faces, clay, light) for light in lights.values()]
    _save_two_rows("surface.png", {**dict(zip(textures, upper)), **dict(zip(lights, lower))})


def _save_two_rows(name: str, pictures: dict[str, np.ndarray]) -> None:
    """Labels below each picture, for two rows that have labels of their own."""
    font, labelled = ImageFont.load_default(15), []
    for label, picture in pictures.items():
        sheet = Image.new("RGB", (picture.shape[1], picture.shape[0] + 24), "white")
        sheet.paste(Image.fromarray(picture), (0, 0))
        ImageDraw.Draw(sheet).text(
            (picture.shape[1] / 2, picture.shape[0] + 8), label, fill=_INK, font=font, anchor="mm"
        )
        labelled.append(np.asarray(sheet))
    half = len(labelled) // 2
    save_grid(name, [labelled[:half], labelled[half:]], [], ["", ""])


def _ball(points, faces, texture, light) -> np.ndarray:
    camera = orbit(2.6, 0.2, jnp.array([0.0]), 0.42)
    picture = render(
        Mesh(0.5 * _one(points), faces), camera, (384, 384), texture=texture, light=light, blending="antialias"
    )
    return bytes_of(np.asarray(picture.rgb[0]).reshape(192, 2, 192, 2, 3).mean((1, 3)))


def _one(values: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(values, jnp.float32)[None]


def _pick(camera, index: list[int]):
    """Some cameras of a batch."""
    return type(camera)(*(getattr(camera, name)[jnp.array(index)] for name in _CAMERA_ARRAYS))


_CAMERA_ARRAYS = ("rotation", "translation", "focal", "principal")


def _masks(page: dict, points) -> jnp.ndarray:
    clip = page["views"].project(page["repeat"](points, 10))
    return (rasterize(clip, page["sphere_faces"], page["SIZE"]).face_id >= 0).astype(jnp.float32)


def main() -> None:
    """Runs the page, then draws."""
    picture_blending()
    picture_surface()
    page = run_page()
    for picture in (picture_draw, picture_shape, picture_texture, picture_camera):
        picture(page)


if __name__ == "__main__":
    main()
