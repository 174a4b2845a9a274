"""``launch.sweep``: units out of a config file, run here, printed, or as a job array; and their table."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ast_jax.process.ownership import is_owned, owning
from ast_jax.sweep import Sweep, Unit, make_sweep, read_sweep, run_local, save_sweep, write_table
from ast_jax.sweep.local import find_devices
from ast_jax.sweep.slurm import make_script
from configs.quickstart import get_config
from tests.launch.test_train import ROOT, _run

CONFIG = """
from configs import quickstart


def get_config(arg=None):
    config = quickstart.get_config("tiny,shape=mlp")
    config.stages = (("shape", 2), ("joint", 0))
    config.stage.shape.losses = dict(iou=1.0)
    config.data.num_target_views = 1
    config.batch_size = 4
    config.log_every = 1
    model = config.model
    model.num_keypoints, model.encoder.width = 0, 8
    model.shape.kind, model.shape.level, model.shape.query_level, model.texture.kind = "mlp", 1, 0, "none"
    return config


def sweep_flip():
    yield {"data.augment.flip": False}
    yield {"data.augment.flip": True}


def sweep_seed():
    for seed in range(2):
        yield {"seed": seed}


def sweep_size():
    yield {"data.image_size": 32, "data.render_size": 32}


def sweep_misspelt():
    yield {"optimizer.learning_rat": 1e-3}


def sweep_lost():
    yield {"layers": 1}


def sweep_half():
    yield {"seed": 0.5}


def sweep_empty():
    yield from ()


def sweep_baseline():
    yield {}
    yield {"data.augment.crop": 0.0}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "experiment.py"
    path.write_text(CONFIG)
    return path


def _fake(folder: Path, code: str) -> Unit:
    return Unit(folder, {}, (sys.executable, "-c", code))


def test_a_sweep_of_two_by_two_from_nothing_to_the_table(config, tmp_path):
    command = ["launch.sweep", f"--config={config}", "--sweep=seed,flip", f"--workdir={tmp_path / 'sweep'}"]
    command += [f"--config.data.root={tmp_path / 'data'}", "--backend=local", "--train_flags=--noreport"]
    result = _run(*command)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    names = [f"{i:03d}-seed={i // 2},flip={bool(i % 2)}" for i in range(4)]
    assert result.stdout.splitlines() == [line for name in names for line in (f"{name}: started", f"{name}: done")]
    for name in names:
        run = tmp_path / "sweep" / name
        stored = json.loads((run / "config.json").read_text())
        assert f"seed={stored['seed']},flip={stored['data']['augment']['flip']}" in name
        assert (run / "DONE").read_text() == "2\n" and "trained 2 steps" in (run / "log.txt").read_text()

    again = _run(*command)
    assert again.returncode == 0
    assert again.stdout.splitlines() == [f"{name}: skipped, it is done" for name in names]

    table = _run("launch.sweep", f"--workdir={tmp_path / 'sweep'}", "--summarize").stdout
    assert table == (tmp_path / "sweep" / "table.md").read_text()
    header, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert header == ["unit", "seed", "flip", "status", "loss"] and len(rows) == 4
    assert all(row[3] == "done" and float(row[4]) > 0 for row in rows)
    assert rows[0][4] != rows[2][4]  # the seeds differ


def test_a_unit_that_saved_goes_on_and_a_failing_one_stops_no_other(tmp_path, capsys):
    stops_once = "import os, sys; new = not os.path.exists('{0}'); open('{0}', 'a').write('x'); sys.exit(42 * new)"
    units = [
        _fake(tmp_path / "000-a=1", stops_once.format(tmp_path / "times")),
        _fake(tmp_path / "001-a=2", "print('so far so good'); raise ValueError('the disk is full')"),
        _fake(tmp_path / "002-a=3", "print('well')"),
    ]
    assert run_local(units) == 1
    assert (tmp_path / "times").read_text() == "xx"
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "000-a=1: started", "000-a=1: was stopped and has saved; it goes on", "000-a=1: started", "000-a=1: done",
        "001-a=2: started", "001-a=2: failed with exit code 1: ValueError: the disk is full",
        "002-a=3: started", "002-a=3: done",
        "failed: 001-a=2",
    ]  # fmt: skip
    assert "so far so good" in (units[1].folder / "log.txt").read_text()


def test_a_single_unit_hands_its_exit_code_on(tmp_path):
    assert run_local([_fake(tmp_path / "unit", "raise SystemExit(42)")], restart=False) == 42
    assert run_local([_fake(tmp_path / "unit", "raise SystemExit(3)")], restart=False) == 1
    assert run_local([_fake(tmp_path / "unit", "")], restart=False) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_units_and_ends_with_42(tmp_path, number):
    unit = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text("saved"), sys.exit(42)))
pathlib.Path(sys.argv[1]).write_text("training")
time.sleep(60)
"""
    files = [tmp_path / str(index) for index in range(3)]
    launcher = f"""
import sys
from pathlib import Path
from ast_jax.sweep import Unit, run_local
units = [Unit(Path(f"{{path}}.d"), {{}}, ("python", "-c", {unit!r}, path)) for path in {list(map(str, files))}]
sys.exit(run_local(units, devices=[None, None]))
"""
    # A group of its own, and the signal to all of it, is what Ctrl-C in a terminal does.
    process = subprocess.Popen([sys.executable, "-c", launcher], cwd=ROOT, start_new_session=True)
    deadline = time.time() + 60
    while not all(path.is_file() and path.read_text() for path in files[:2]):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(timeout=60) == 42
    assert [path.read_text() for path in files[:2]] == ["saved", "saved"]
    assert not files[2].exists()


def test_units_at_the_same_time_have_a_device_and_a_cache_each(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    code = """
import os, time
print(os.environ["CUDA_VISIBLE_DEVICES"], os.path.basename(os.environ["JAX_COMPILATION_CACHE_DIR"]), flush=True)
time.sleep(0.5)
"""
    units = [_fake(tmp_path / f"{index}", code) for index in range(4)]
    assert run_local(units, devices=["5", "7"]) == 0
    logs = [(unit.folder / "log.txt").read_text().strip() for unit in units]
    assert sorted(logs) == ["5 0", "5 0", "7 1", "7 1"] and sorted(logs[:2]) == ["5 0", "7 1"]


def test_devices_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert find_devices() == [None] and find_devices(3) == [None] * 3
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: H100 (UUID: x)'\necho '  MIG 1g.10gb'\necho 'GPU 1: H100 (UUID: y)'\n")
    program.chmod(0o755)
    assert find_devices() == ["0", "1"] and find_devices(1) == ["0"] and find_devices(9) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,6")
    assert find_devices() == ["2", "5", "6"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_devices() == [None]


def test_a_unit_that_outlived_its_sweep_is_left_alone(tmp_path, capsys):
    unit = _fake(tmp_path / "unit", "import time; print('here', flush=True); time.sleep(60)")
    launcher = f"""
from pathlib import Path
from ast_jax.sweep import Unit, run_local
run_local([Unit(Path({str(unit.folder)!r}), {{}}, {unit.command!r})])
"""
    process = subprocess.Popen([sys.executable, "-c", launcher], cwd=ROOT, start_new_session=True)
    log, deadline = unit.folder / "log.txt", time.time() + 60
    while not (log.is_file() and log.read_text()):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert is_owned(unit.folder)
    assert run_local([unit]) == 1
    assert "another process is running it" in capsys.readouterr().out
    os.killpg(process.pid, signal.SIGKILL)
    while is_owned(unit.folder):
        assert time.time() < deadline
    assert run_local([_fake(unit.folder, "")]) == 0


def test_print_gives_commands_for_a_shell(config, tmp_path):
    command = ["launch.sweep", f"--config={config}:x y", "--sweep=flip,seed", "--config.stages=(('shape', 1),)"]
    command += [f"--workdir={tmp_path / 'a sweep'}", "--train_flags=--noreport --allow_config_change"]
    assert _run(*command, "--dry_run").stdout.count("\n") == 4 and not (tmp_path / "a sweep").exists()
    lines = _run(*command).stdout.splitlines()
    stored = json.loads((tmp_path / "a sweep" / "sweep.json").read_text())
    assert [shlex.split(line) for line in lines] == [unit["command"] for unit in stored["units"]]
    assert shlex.split(lines[1]) == [
        "python", "-m", "launch.train", f"--config={config}:x y",
        f"--workdir={tmp_path}/a sweep/001-flip=False,seed=1", "--config.stages=(('shape', 1),)",
        "--config.data.augment.flip=False", "--config.seed=1", "--noreport", "--allow_config_change",
    ]  # fmt: skip
    assert _run(*command, "--index=3").stdout.strip() == lines[3]
    other = _run(*command, "--config.seed=3")
    assert other.returncode == 1 and "varies seed" in other.stderr
    other = _run(*command, "--config.batch_size=8")
    assert other.returncode == 1 and "another sweep" in other.stderr and "--workdir" in other.stderr
    other = _run(*command, "--sweep=seed,flip")
    assert other.returncode == 1 and "000-flip=False,seed=0 there, 000-seed=0,flip=False here" in other.stderr


def test_names_of_folders(config, tmp_path):
    """The last component tells a key, where it is that of one key alone; a default needs no override."""
    values = make_sweep(str(config), get_config("tiny"), ["size", "baseline"], tmp_path, common={}).units
    assert [unit.folder.name for unit in values] == [
        "000-image_size=32,render_size=32", "001-image_size=32,render_size=32,crop=0.0"
    ]  # fmt: skip
    config.write_text("def sweep_kind():\n    yield {'model.shape.kind': 'mlp', 'model.texture.kind': 'a b/../c'}\n")
    (unit,) = make_sweep(str(config), get_config("tiny,shape=transformer"), ["kind"], tmp_path, common={}).units
    assert unit.folder.name == "000-shape.kind=mlp,texture.kind=a_b_.._c" and unit.folder.parent == tmp_path


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--sweep=sed"], "no such sweep; EXPERIMENT has baseline, empty, flip, half, lost, misspelt, seed, size"),
        ([], "name one or more; EXPERIMENT has"),
        (["--sweep=misspelt"], "'optimizer.learning_rat', which the config does not have; did you mean 'optimizer.le"),
        (["--sweep=lost"], "did you mean 'model.shape.layers' or 'model.texture.layers'?"),
        (["--sweep=seed,half"], "seed=0.5, which should be of type int"),
        (["--sweep=empty"], "has to yield dicts of overrides"),
        (["--sweep=seed,seed"], "both set seed"),
        (["--sweep=seed", "--index=2"], "the units 0 to 1"),
        (["--sweep=seed", "--train_flags='"], "No closing quotation"),
        (["--summarize"], "not a sweep"),
    ],
)
def test_errors_are_one_line_before_anything_is_started(config, tmp_path, flags, says):
    result = _run("launch.sweep", f"--config={config}", f"--workdir={tmp_path / 'sweep'}", "--backend=local", *flags)
    assert result.returncode == 1 and result.stdout == "" and not (tmp_path / "sweep").exists()
    assert len(result.stderr.splitlines()) == 1 and says.replace("EXPERIMENT", str(config)) in result.stderr


def _sweep(folder: Path, units: int = 3) -> Sweep:
    options = [{"model.shape.kind": "mlp", "model.texture.kind": "mlp", "seed": seed} for seed in range(units)]
    made = [Unit(folder / f"{seed:03d}-seed={seed}", option, ("true",)) for seed, option in enumerate(options)]
    return Sweep(folder, "configs/cub.py:ast", ("kinds", "seed"), {"batch_size": 8}, ("--noreport",), tuple(made))


def test_the_slurm_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = make_script(_sweep(Path("runs/a")), options="--gres=gpu:1  --time=24:00:00", max_parallel=2)
    golden = f"""#!/usr/bin/env bash
#SBATCH --job-name=ast-a
#SBATCH --array=0-2%2
#SBATCH --output={tmp_path}/runs/a/slurm-%a.txt
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --gres=gpu:1 --time=24:00:00
cd {tmp_path} || exit 1
srun {sys.executable} -m launch.sweep --config=configs/cub.py:ast --sweep=kinds,seed --workdir=runs/a \
--config.batch_size=8 --train_flags=--noreport --backend=local --index="$SLURM_ARRAY_TASK_ID"
code=$?
if [ "$code" -eq 42 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""
    assert script == golden
    assert "--array=1\n" in make_script(_sweep(Path("runs/a")), index=1)


@pytest.mark.parametrize("code, calls", [(0, []), (1, []), (42, ["requeue 77"])])
def test_the_slurm_script_goes_back_into_the_queue_after_a_save(tmp_path, code, calls):
    programs = {"srun": f'echo "$@" > {tmp_path}/srun.txt\nexit {code}', "scontrol": f'echo "$@" >> {tmp_path}/calls'}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sweep.sbatch").write_text(make_script(_sweep(tmp_path / "it's a sweep")))
    assert subprocess.run(["bash", "-n", tmp_path / "sweep.sbatch"]).returncode == 0
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "2"}
    result = subprocess.run(["bash", tmp_path / "sweep.sbatch"], env=environment)
    assert result.returncode == code
    assert "it's a sweep --config.batch_size=8" in (tmp_path / "srun.txt").read_text()
    assert (tmp_path / "srun.txt").read_text().endswith("--index=2\n")
    assert ((tmp_path / "calls").read_text().splitlines() if calls else []) == calls


def test_slurm_submits_where_there_is_sbatch(config, tmp_path):
    workdir = tmp_path / "sweep"
    command = ["launch.sweep", f"--config={config}", "--sweep=seed", f"--workdir={workdir}", "--backend=slurm"]
    shown = _run(*command, "--dry_run").stdout
    assert "--array=0-1\n" in shown and not workdir.exists()
    assert _run(*command).stdout == f"sbatch {workdir}/sweep.sbatch\n"
    assert (workdir / "sweep.sbatch").read_text() + "\n" == shown
    missing = _run(*command, "--submit", PATH="/usr/bin:/bin")
    assert missing.returncode == 1
    assert f"there is no sbatch on this machine; where there is one, run: sbatch {workdir}" in missing.stderr
    (tmp_path / "sbatch").write_text('#!/bin/sh\necho "Submitted $1"\n')
    (tmp_path / "sbatch").chmod(0o755)
    submitted = _run(*command, "--submit", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert submitted.stdout == f"Submitted {workdir}/sweep.sbatch\n", submitted.stderr


def test_the_table_of_units_in_every_state(tmp_path):
    sweep = _sweep(tmp_path, units=6)
    save_sweep(sweep)
    assert read_sweep(tmp_path) == sweep
    for unit in sweep.units[:5]:
        unit.folder.mkdir()
        lines = [{"step": 20, "seconds": 1.0, "loss": 0.5}, {"step": 40, "seconds": 2.0, "loss": 0.123456}]
        (unit.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (unit.folder / "log.txt").write_text("log\n")
    done, running, failed, stopped, elsewhere, _ = (unit.folder for unit in sweep.units)
    (done / "DONE").write_text("40\n")
    rows = {"template sphere": {"iou_3d": {"mean": 0.1}}}
    rows["Shape Transformer"] = {"iou_3d": {"mean": 0.61234, "low": 0.6, "high": 0.65}, "fid": {"mean": 12.0}}
    (done / "metrics.json").write_text(json.dumps(rows))  # as files were before they had the name of the run's row
    (failed / "FAILED").write_text("exit code 1: error: the disk is full\n")
    (failed / "metrics.jsonl").unlink()
    (elsewhere / "log.txt").unlink()
    with owning(running):
        table = write_table(tmp_path)
    assert table == (tmp_path / "table.md").read_text().strip()
    assert table.splitlines() == [
        "| unit | shape.kind | texture.kind | seed | status | loss | iou_3d | fid |",
        "| --- | --- | --- | --- | --- | ---: | ---: | ---: |",
        "| 000 | mlp | mlp | 0 | done | 0.1235 | 0.6123 [0.6, 0.65] | 12 |",
        "| 001 | mlp | mlp | 1 | running at step 40 | 0.1235 | – | – |",
        "| 002 | mlp | mlp | 2 | failed | – | – | – |",
        "| 003 | mlp | mlp | 3 | stopped at step 40 | 0.1235 | – | – |",
        "| 004 | mlp | mlp | 4 | running at step 40 | 0.1235 | – | – |",
        "| 005 | mlp | mlp | 5 | not started | – | – | – |",
    ]
    # With the name its place does not count.
    (done / "metrics.json").write_text(json.dumps({"ours": "Shape Transformer", **dict(reversed(rows.items()))}))
    assert write_table(tmp_path).splitlines()[2] == table.splitlines()[2]
    assert stopped.is_dir()
