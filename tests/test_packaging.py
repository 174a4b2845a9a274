"""A wheel of the repository, used where there is no checkout: what it adds to an environment, and that it runs."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
# What setuptools reads; built from a copy, so that nothing of an earlier build is left in it.
PARTS = "ast_jax render launch configs pyproject.toml setup.py requirements.txt README.md LICENSE".split()


class Installed(NamedTuple):
    """The names of the wheel's files, and the folder that it was installed to."""

    files: list[str]
    site: Path

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess:
        """A command, started in a folder; of ours only the wheel is on the path, before all else."""
        environment = os.environ | {"PYTHONPATH": str(self.site), "JAX_PLATFORMS": "cpu"}
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
        assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-3000:]
        return result


def _setuptools_version() -> int:
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        options = {"ignore": shutil.ignore_patterns("__pycache__")} if (ROOT / name).is_dir() else {}
        (folder / "source").mkdir(exist_ok=True)
        copy(ROOT / name, folder / "source" / name, **options)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    if _setuptools_version() >= 77:  # that of this environment will do; else pip fetches one
        build.append("--no-build-isolation")
    subprocess.run([*pip, *build, str(folder / "source")], check=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-compile", "--target", site, wheel], check=True)
    return Installed(zipfile.ZipFile(wheel).namelist(), site)


def test_two_names_and_no_more_come_into_an_environment(installed):
    names = {name.partition("/")[0] for name in installed.files}
    assert {name for name in names if not name.endswith(".dist-info")} == {"ast_jax", "render"}
    (record,) = [name for name in installed.files if name.endswith("/top_level.txt")]
    assert (installed.site / record).read_text().split() == ["ast_jax", "render"]


def test_every_file_of_the_repository_that_runs_is_in_it(installed):
    """Code, experiments, the shipped models and the viewer of the report."""
    listed = {}
    for top, place in {"ast_jax": "ast_jax", "render": "render", "launch": "ast_jax/launch"}.items():
        listed |= {path: f"{place}/{path.relative_to(ROOT / top)}" for path in (ROOT / top).rglob("*")}
    listed |= {path: f"ast_jax/configs/{path.name}" for path in (ROOT / "configs").iterdir()}
    wanted = {name for path, name in listed.items() if path.is_file() and "__pycache__" not in path.parts}
    assert wanted - set(installed.files) == set()
    assert {"ast_jax/py.typed", "render/py.typed", "ast_jax/pretrained/models/bird/model.safetensors"} <= wanted


def test_the_checkout_is_not_needed(installed, tmp_path):
    code = """
import sys, importlib.util
import ast_jax.launch.train, ast_jax.launch.prepare_data, ast_jax.configs.cub, render.demo
ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in ("ast_jax", "render")]
print(*filter(None, ours), sep="\\n")
assert not any(map(importlib.util.find_spec, ("launch", "configs", "benchmarks", "tests")))
"""
    files = installed.run(tmp_path, sys.executable, "-c", code).stdout.split()
    assert len(files) > 50 and all(Path(file).is_relative_to(installed.site) for file in files)


def test_train_and_sweep_know_the_experiments_by_name(installed, tmp_path):
    sweep = [installed.site / "bin" / "ast-sweep", "--sweep=seed", "--workdir=sweep"]
    lines = installed.run(tmp_path, *sweep, "--config=quickstart:tiny").stdout.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("python -m ast_jax.launch.train --config=quickstart:tiny --workdir=sweep/002-seed=2")
    small = ["--noreport", "--config.data.num_objects=6", "--config.data.num_target_views=1", "--config.batch_size=2"]
    small += ["--config.model.texture.kind=none", "--config.model.shape.level=2", "--config.optimizer.name=adamw"]
    train = [sys.executable, *lines[2].split()[1:], "--config.stages=(('shape', 2),)", *small]
    train[train.index("--config=quickstart:tiny")] = "--config=quickstart:tiny,shape=mlp"
    installed.run(tmp_path, *train)
    assert (tmp_path / "sweep" / "002-seed=2" / "DONE").read_text() == "2\n"


def test_a_picture_becomes_a_mesh(installed, tmp_path):
    rows, columns = np.mgrid[-1:1:48j, -1:1:48j]
    inside = rows**2 * 4 + columns**2 < 0.6
    Image.fromarray(np.stack([*[inside * 200] * 3, inside * 255], -1).astype(np.uint8)).save(tmp_path / "bird.png")
    command = [installed.site / "bin" / "ast-reconstruct", "--image=bird.png", "--output=out", "--texture_size=32"]
    installed.run(tmp_path, *command)
    assert (tmp_path / "out" / "bird.glb").read_bytes()[:4] == b"glTF"
