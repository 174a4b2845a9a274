"""Every benchmark can at least be started: what it imports is there."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = [path.stem for path in sorted(FOLDER.glob("*.py"))] + ["render.__main__", "gpu.__main__"]
SCRIPTS += [f"gpu.{part}" for part in ("device", "correctness", "renderer", "trace", "quickstart", "expected")]
# Scripts share names of flags, which only one of them may define in a process: each is cleared away.
CODE = """
import importlib, sys
from absl import flags
for name in sys.argv[1:]:
    before = set(flags.FLAGS)
    module = importlib.import_module(f"benchmarks.{name}")
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - before)
    if name not in ("noise", "collectives") and f"python -m benchmarks.{name.partition('.')[0]}" not in module.__doc__:
        sys.exit(f"benchmarks.{name} does not say how it is started")
"""


def test_benchmarks_import():
    assert "train_step" in SCRIPTS and "scaling" in SCRIPTS
    done = subprocess.run([sys.executable, "-c", CODE, *SCRIPTS], cwd=FOLDER.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
