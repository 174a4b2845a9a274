"""Wrong names on the real command lines: one line, with the near match, exit code 1, no traceback."""

import json
import os
import subprocess
import sys

import pytest

from ast_jax.process.ownership import owning
from tests.launch.test_train import ROOT

CONFIG = "--config=configs/quickstart.py:tiny,shape=mlp"
# Every case in a fork of one process, before jax knows its devices: the imports are paid for once.
RUN = """
import json, os, sys, tempfile
import importlib
script = importlib.import_module("launch." + sys.argv[1])
results = []
for words in json.loads(sys.argv[2]):
    with tempfile.TemporaryFile("w+") as file:
        pid = os.fork()
        if not pid:
            os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
            sys.argv = [script.__name__, *words]
            script.run()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        file.seek(0)
        results.append([code, file.read()])
print(json.dumps(results))
"""


def _said(script: str, cases: list[list[str]]) -> list[list]:
    command = [sys.executable, "-c", RUN, script, json.dumps(cases)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def _check(script: str, cases: dict[tuple[str, ...], str]) -> None:
    for (words, says), (code, said) in zip(cases.items(), _said(script, [list(words) for words in cases]), strict=True):
        lines = [line for line in said.splitlines() if not line.startswith("I")]  # what absl logs of the devices
        assert code == 1 and len(lines) == 1 and says in lines[0], (words, code, said)
        assert lines[0].startswith("error: ")


def test_train(tmp_path):
    (tmp_path / "file").write_text("")
    broken, strange, misspelt = (tmp_path / f"{name}.py" for name in ("broken", "strange", "misspelt"))
    broken.write_text("x = 1\ndef get_config(:\n")
    strange.write_text("x = 1\n")
    misspelt.write_text(
        "from configs import quickstart\n\ndef get_config():\n"
        "    config = quickstart.get_config('tiny')\n    config.bach_size = 8\n    return config\n"
    )
    run = f"--workdir={tmp_path / 'run'}"
    cases = {
        (
            CONFIG,
            run,
            "--config.modle.dim=3",
        ): "config.modle.dim is no key of the config; did you mean 'config.model",
        (CONFIG, run, "--config.optimizer.learning_rat=1"): "did you mean 'config.optimizer.learning_rate'?",
        (CONFIG, run, "--config.learning_rate", "1"): "did you mean 'config.optimizer.learning_rate'?",
        (CONFIG, run, "--noconfig.recomput"): "did you mean 'config.recompute'?",
        (CONFIG, run, "--config.batch_size=many"): "--config.batch_size=many: ",
        (CONFIG, run, "--config.log_every=0"): "config.log_every=0: ",
        ("--config=configs/quickstart.py:tny", run): "choose one of small, tiny; did you mean 'tiny'?",
        (
            "--config=configs/quickstart.py:siz=tiny",
            run,
        ): "unknown config option 'siz'; options are size, shape; did you",
        ("--config=configs/quickstrt.py", run): "did you mean 'configs/quickstart.py'?",
        ("--config=configs/cub", run): "did you mean 'configs/cub.py'?",
        ("--config=quikstart:tiny", run): "there is no file 'quikstart'; did you mean 'quickstart'?",
        (
            "--config=quickstart:tny",
            run,
        ): "--config=quickstart:tny: config option size='tny': choose one of small, tiny;",
        ("--config=quickstart:tiny", run, "--config.log_every=0"): "config.log_every=0: ",
        ("--config=", run): "--config= is empty",
        (f"--config={broken}", run): f"{broken}, line 2: ",
        (f"--config={strange}", run): "get_config",
        (f"--config={misspelt}", run): "config.bach_size is no key of the config; did you mean 'batch_size'?",
        (run,): "--config is not given.",
        (CONFIG,): "--workdir is not given.",
        (CONFIG, "--workdir="): "--workdir= is empty",
        (CONFIG, "--wrkdir=x"): "--wrkdir is no flag; did you mean '--workdir'?",
        (CONFIG, run, "config.seed=1"): "'config.seed=1' is no flag",
        (CONFIG, f"--workdir={tmp_path / 'file'}"): "cannot be made (File exists)",
        (CONFIG, f"--workdir={tmp_path / 'file' / 'run'}"): "cannot be made (Not a directory)",
        (CONFIG, run, "--profile_steps=ten"): "profile_steps='ten'",
    }
    _check("train", cases)
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    with owning(tmp_path):
        _check("train", {(CONFIG, f"--workdir={tmp_path}"): f"process {os.getpid()} on "})


def test_evaluate_sweep_and_export(tmp_path):
    run = f"--checkpoint={tmp_path}"
    cases = {
        (run, "--protocol=shapenet_nm"): "did you mean 'shapenet_nmr'?",
        (run, "--shrad=0/4"): "did you mean '--shard'?",
        (): "--checkpoint: give the folder of a run",
        (run,): "not a training run",
        ("--checkpoint=bird",): "a released model comes without its data",
        (run, "--root=x"): "--root: goes with --protocol",
        ("--average=a,b",): "--average: say by --protocol",
        ("--compare=a", "--against=b"): "--compare: say by --protocol",
        ("--compare=a", "--protocol=freeshapes"): "--against=RUN,.. go together",
    }
    _check("evaluate", cases)
    workdir = f"--workdir={tmp_path / 'sweep'}"
    cases = {
        (CONFIG, workdir, "--sweep=layerz"): "did you mean 'layers'?",
        (
            CONFIG,
            workdir,
            "--sweep=layers",
            "--backend=locl",
        ): "choose one of print, local, slurm; did you mean",
        (CONFIG, workdir, "--sweep=layers", "--config.modle.dim=3"): "did you mean 'config.model.dim'?",
        ("--config=configs/quickstart.py:huge", workdir, "--sweep=layers"): "choose one of small, tiny",
        ("--config=quickstart:tiny,shape=mlp", workdir, "--sweep=layerz"): "did you mean 'layers'?",
        ("--config=quickstrt", workdir, "--sweep=layers"): "did you mean 'quickstart'?",
        (CONFIG, "--workdir=", "--sweep=layers"): "--workdir= is empty",
        (workdir, "--summarize"): "not a sweep",
    }
    _check("sweep", cases)
    assert not (tmp_path / "sweep").exists()
    cases = {
        ("--checkpoint=brid", f"--output={tmp_path / 'a.onnx'}"): "did you mean 'bird'?",
        (f"--output={tmp_path}",): "is a folder; name a file",
        (f"--output={tmp_path / 'gone' / 'a.onnx'}",): "a.onnx: cannot be written",
    }
    _check("export", cases)


@pytest.mark.parametrize("words", [["--config.modle.dim=3"], ["--config.log_every=0"]])
def test_the_traceback_comes_back_where_it_is_wanted(tmp_path, words, monkeypatch):
    monkeypatch.setenv("AST_JAX_TRACEBACK", "1")
    ((code, said),) = _said("train", [[CONFIG, f"--workdir={tmp_path}", *words]])
    assert code and "Traceback" in said
