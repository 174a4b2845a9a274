"""One HTML file that finds the object of a photograph, reconstructs it and shows the mesh, in any browser.

It carries all that it needs: the model and the mask network as ONNX files, onnxruntime-web, ``<model-viewer>``. So it
works from a static host and from a folder (``file://``), where pages may not read other files, and its content security
policy forbids every network access.
"""

import base64
import gzip
import html
import json
import re
import tarfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from ast_jax.export.program import encode_program, make_program
from ast_jax.files.output_folder import OutputFolder
from ast_jax.model.predictor import predicts_camera
from ast_jax.model.template import sphere
from ast_jax.pretrained.saliency import usual_weights
from ast_jax.training.checkpoint import load_model

PAGE, LICENCES = "index.html", "LICENCES.txt"
HOW_TO_GET_RUNTIME = "`npm pack onnxruntime-web` downloads it; give that .tgz file, or node_modules/onnxruntime-web"
# Of onnxruntime-web, in its folder `dist`: the script, what it loads, and the program itself.
_RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_LARGEST_PART = 2**26  # bytes, of a file of the runtime; there are 14 MB
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src data: blob:; worker-src blob:"
)
_LICENCES = """\
{name}: the model, under the licence of AST-JAX (Apache-2.0).
{mask_network}: U^2-Net (Qin et al. 2020), code and weights under Apache-2.0, https://github.com/xuebinqin/U-2-Net
onnxruntime-web {runtime}: MIT, Copyright (c) Microsoft Corporation, https://github.com/microsoft/onnxruntime
model-viewer: Apache-2.0, with three.js (MIT) and Lit (BSD-3-Clause), https://modelviewer.dev
"""


def build_page(
    folder: str | Path, *, checkpoint: str = "bird", runtime: str | Path, mask_model: str | Path | None = None
) -> Path:
    """Write ``index.html`` and ``LICENCES.txt``; those of an earlier call are replaced, others are not.

    Args:
      folder: made if it is missing.
      checkpoint: see ``load_model``; it must take cut-out pictures and predict cameras and texels.
      runtime: onnxruntime-web, as its package ``.tgz`` or as its folder.
      mask_model: an ONNX file of the U^2-Net family of 320 px; None: the one of ``pip install "ast-jax[photo]"``.

    Returns:
      the page.

    Raises:
      ValueError: a file is missing, or the model is not one that the page can use.
    """
    output = OutputFolder(folder)
    output.check_writable()
    taken = [name for name in (PAGE, LICENCES) if not output.is_free(name)]
    if taken:
        raise ValueError(f"{output.path / taken[0]}: is not of this command; choose another folder.")
    parts = read_runtime(runtime)
    weights = _weights(mask_model)
    model, config = load_model(checkpoint)
    if not (config.data.input_masked and predicts_camera(model) and config.model.texture.kind != "none"):
        raise ValueError(f"{checkpoint}: the page needs a model of cut-out pictures that predicts cameras and texels.")
    size = config.data.image_size
    about = {
        "name": Path(checkpoint).name,
        "data": {key: config.data[key] for key in ("image_size", "crop_padding", "background")},
        "mask_network": weights.stem,
        "mirror_face": sphere(model.level).mirror_face.tolist() if model.is_symmetric else None,
    }
    program = make_program(model, (size, size, 4), takes_camera=True)
    licences = _LICENCES.format(name=about["name"], mask_network=weights.stem, runtime=parts["version"].decode())
    carried = {
        "model": encode_program(program, "onnx", {"name": about["name"]}),
        "mask-network": weights.read_bytes(),
        "runtime-code": parts[_RUNTIME[1]],
        "runtime-wasm": parts[_RUNTIME[2]],
    }
    page = _page(about, carried, parts[_RUNTIME[0]].decode(), licences)
    output.write(LICENCES, licences.encode())
    output.write(PAGE, page.encode())
    return output.path / PAGE


def _weights(mask_model: str | Path | None) -> Path:
    if mask_model is None:
        usual = usual_weights()
        if usual is None:
            raise ValueError(
                'the page needs a network that finds objects: pip install "ast-jax[photo]", or --mask_model.'
            )
        return usual
    if not Path(mask_model).is_file():
        raise ValueError(f"{mask_model}: no such file; a mask model is an ONNX file of the U^2-Net family.")
    return Path(mask_model)


def read_runtime(path: str | Path) -> dict[str, bytes]:
    """The files of onnxruntime-web that the page carries, and its ``version``.

    Args:
      path: of the package ``.tgz``, or of its folder.

    Raises:
      ValueError: it is neither.
    """
    path, wanted = Path(path), [f"dist/{name}" for name in _RUNTIME] + ["package.json"]
    try:
        if path.is_dir():
            found = {name: (path / name).read_bytes() for name in wanted}
        else:
            with tarfile.open(path) as archive:
                found = {name: _member(archive, f"package/{name}") for name in wanted}
        version = json.loads(found.pop("package.json"))["version"]
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not onnxruntime-web ({reason}); {HOW_TO_GET_RUNTIME}.") from error
    return {Path(name).name: content for name, content in found.items()} | {"version": str(version).encode()}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(name)
    file = archive.extractfile(member) if member.isfile() and member.size <= _LARGEST_PART else None
    if file is None:
        raise ValueError(f"{name} is no file of a usual size")
    return file.read()


def _page(about: dict, carried: Mapping[str, bytes], runtime: str, licences: str) -> str:
    """The page with everything in it."""
    texts = {
        "policy": html.escape(_POLICY),
        "name": html.escape(about["name"]),
        "licences": html.escape(licences),
        # A "<" could end the script.
        "about": json.dumps(about).replace("<", "\\u003c"),
        "carried": "\n".join(_carried(name, content) for name, content in carried.items()),
        "ort.wasm.min.js": _inline(runtime),
        "model-viewer.min.js": _inline(_asset("ast_jax.export", "model-viewer.min.js")),
        "page.css": _asset("ast_jax.demo", "page.css"),
    }
    scripts = ("picture.js", "camera.js", "glb.js", "page.js")
    texts |= {name: _inline(_asset("ast_jax.demo", name)) for name in scripts}
    return re.sub(r"\{\{([\w.-]+)\}\}", lambda found: texts[found[1]], _asset("ast_jax.demo", "page.html"))


def _carried(name: str, content: bytes) -> str:
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")
    return f'<script type="text/plain" id="{name}">{packed}</script>'


def _inline(script: str) -> str:
    """A script that cannot end the element around it, and whose map is not looked for."""
    script = re.sub(r"^//# sourceMappingURL=.*$", "", script, flags=re.MULTILINE)
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)


def _asset(package: str, name: str) -> str:
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")
