"""From a published archive to the row of a table, by the commands of docs/data.md."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.datasets.cub_writer import make_photos, write_official
from tests.launch.test_train import _run


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    """The official archive, small."""
    root = tmp_path_factory.mktemp("download")
    write_official(root, make_photos(14, size=(90, 120), scale=40.0), [True] * 8 + [False] * 6)
    return root


@pytest.mark.parametrize(
    "variant, protocols",
    [
        ("cmr", ("cub_cmr",)),
        pytest.param("cmr", ("cub_umr",), marks=pytest.mark.slow),
        pytest.param("ast", ("cub_ast",), marks=pytest.mark.slow),
    ],
)
def test_cub_from_the_archive_to_the_row(cub, tmp_path, variant, protocols):
    data, run = tmp_path / "data", tmp_path / "run"
    command = ["launch.prepare_data", "--dataset=cub", f"--source={cub}", f"--variant={variant}"]
    made = _run(*command, f"--root={data}")
    assert made.returncode == 0 and "14 objects" in made.stdout, made.stderr[-2000:]
    command = ["launch.train", f"--config=configs/cub.py:{variant},size=tiny", f"--workdir={run}", "--noreport"]
    command += ["--config.optimizer.name=adamw", "--config.stages=(('joint', 2),)"]  # less to compile
    trained = _run(*command, f"--config.data.root={data}")
    assert trained.returncode == 0, trained.stderr[-2000:]
    for protocol in protocols:
        result = _run("launch.evaluate", f"--checkpoint={run}", f"--protocol={protocol}")
        assert result.returncode == 0, result.stderr[-2000:]
        metrics = json.loads((run / "evaluation" / protocol / "metrics.json").read_text())
        assert metrics["objects"] == 3 and metrics["what"]["category"] == "bird"
        assert metrics["what"]["split"] == ("val" if protocol == "cub_cmr" else "test")
        assert all(0 <= metrics["metrics"][name]["mean"] for name in metrics["metrics"])
        assert ("camera_error_deg" in metrics["metrics"]) == (variant == "cmr") == ("viewpoints" in metrics["details"])
        masked = metrics["what"]["input_masked"]
        assert masked == any("cut out by its true mask" in note for note in metrics["notes"])
        table = (run / "evaluation" / protocol / "table.md").read_text()
        # Published values, not dashes alone, in a column of ours.
        assert "| UMR |  | – |" in table if protocol == "cub_ast" else "| UMR |  | 0.734 |" in table
        assert "0.734" in table and "CVPR 2023" in table
        assert (run / "evaluation" / protocol / "table.tex").read_text().count(r"\\") >= 2
    if variant == "ast":
        result = _run("launch.evaluate", f"--checkpoint={run}", "--protocol=cub_cmr")
        assert result.returncode == 1 and "have 64 px, cub_cmr compares at 256" in result.stderr


def test_a_download_is_looked_over(cub, tmp_path):
    command = ["launch.prepare_data", "--check", "--dataset=cub", f"--source={cub}", f"--output={tmp_path}"]
    result = _run(*command)
    # All is there, but it is not the 11,735 pictures that were published.
    assert result.returncode == 1 and "images.txt: 14, published are 11788" in result.stdout, result.stderr[-2000:]
    assert "28 of 28 files are there" in result.stdout and "mean key points lie 0.0%" in result.stdout
    assert "14 of 14 sampled objects read well" in result.stdout
    sheet = np.asarray(Image.open(tmp_path / "check.png"))
    assert sheet.shape == (2 * 128, 8 * 128, 3)
    (next((cub / "CUB_200_2011" / "images").rglob("*.jpg"))).write_bytes(b"\xff\xd8 cut off")
    again = _run(*command)
    assert "13 of 14 sampled objects read well" in again.stdout and ".jpg" in again.stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--dataset=cub", "--source=nowhere", "--root=x"], "nowhere: there is nothing"),
        (["--dataset=cub", "--source=."], "--root"),
        (["--dataset=cubs", "--root=x"], "cubs"),
    ],
)
def test_wrong_flags_are_named(flags, message):
    result = _run("launch.prepare_data", *flags)
    assert result.returncode != 0 and message in result.stderr + result.stdout and "Traceback" not in result.stderr


def test_unknown_protocols_are_named(tmp_path):
    result = _run("launch.evaluate", f"--checkpoint={tmp_path}", "--protocol=cub")
    assert result.returncode == 1 and "cub_ast" in result.stderr
