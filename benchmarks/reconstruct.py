"""From the command to the file: how long a photograph takes.

    python -m benchmarks.reconstruct --image=photo.png

Prints seconds: of the first photograph with an empty compilation cache and with a full one, each in a process of its
own, and of every further one in the same process.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from ast_jax.files.output_folder import OutputFolder
from ast_jax.reconstruction import load
from ast_jax.reconstruction.write import write_files

_IMAGE = flags.DEFINE_string("image", None, "A photograph.", required=True)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "bird", "The model.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Photographs of which the fastest counts.", lower_bound=1)
_REFINE_STEPS = flags.DEFINE_integer("refine_steps", 100, "Steps of fitting, in the last row.", lower_bound=1)


def first_photograph(cache: str, output: str) -> float:
    """Seconds of a process that reconstructs one photograph."""
    command = [sys.executable, "-m", "launch.reconstruct", f"--checkpoint={_CHECKPOINT.value}"]
    command += [f"--image={_IMAGE.value}", f"--output={output}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5"}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def further_photographs(output: Path, refine_steps: int) -> float:
    """Seconds of one more photograph and its files: the fastest of several, after one that compiles."""
    model, folder, seconds = load(_CHECKPOINT.value), OutputFolder(output), []
    for _ in range(1 + _REPEATS.value):
        start = time.perf_counter()
        write_files(folder, model.reconstruct(_IMAGE.value, refine_steps=refine_steps))
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main(argv: list[str]) -> None:
    """A table."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        cache, output = f"{folder}/cache", Path(folder) / "out"
        rows = {
            "first photograph, empty compilation cache": first_photograph(cache, str(output / "a")),
            "first photograph, full compilation cache": first_photograph(cache, str(output / "b")),
            "each further one": further_photographs(output / "c", 0),
            f"each further one, --refine_steps={_REFINE_STEPS.value}": further_photographs(
                output / "d", _REFINE_STEPS.value
            ),
        }
    print("| | seconds |\n| --- | ---: |")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.1f} |")


if __name__ == "__main__":
    app.run(main)
