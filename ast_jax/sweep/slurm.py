"""Units as the tasks of a SLURM job array."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ast_jax.files.writing import write_text
from ast_jax.process.outcome import EXIT_CODE
from ast_jax.sweep.units import Sweep, override_flags

FILE_NAME = "sweep.sbatch"

# USR1 comes two minutes before the time is up, time to save; a task that has saved goes back into the queue.
_SCRIPT = """#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array={array}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
#SBATCH --requeue
{options}cd {folder} || exit 1
srun {command} --index="$SLURM_ARRAY_TASK_ID"
code=$?
if [ "$code" -eq {exit_code} ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def make_script(sweep: Sweep, *, index: int | None = None, options: str = "", max_parallel: int = 0) -> str:
    """The batch script of a sweep.

    Args:
      sweep: whose units are the tasks.
      index: only this one; None: all.
      options: more of sbatch, ``--gres=gpu:1 --time=24:00:00``; they win over ours.
      max_parallel: tasks at a time; 0: as many as the cluster grants.
    """
    limit = f"%{max_parallel}" if max_parallel else ""
    # The nodes are taken to share this interpreter, so that no environment has to be activated there.
    command = [sys.executable, "-m", f"{sweep.launchers}.sweep", f"--config={sweep.config}"]
    command += [f"--sweep={','.join(sweep.sweeps)}", f"--workdir={sweep.workdir}", *override_flags(sweep.common)]
    command += [f"--train_flags={shlex.join(sweep.train_flags)}", "--backend=local"]
    return _SCRIPT.format(
        name=shlex.quote(f"ast-{sweep.workdir.name}"),
        array=f"0-{len(sweep.units) - 1}{limit}" if index is None else index,
        log=shlex.quote(str(sweep.workdir.absolute() / "slurm-%a.txt")),
        options=f"#SBATCH {' '.join(options.split())}\n" if options.strip() else "",
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(command),
        exit_code=EXIT_CODE,
    )


def submit(sweep: Sweep, script: str, *, at_once: bool) -> str:
    """Write the batch script into the folder of the sweep, and hand it to sbatch if wanted.

    Args:
      sweep: whose script it is.
      script: as of `make_script`.
      at_once: run sbatch.

    Returns:
      the command that submits it, or what sbatch said.

    Raises:
      ValueError: this machine has no sbatch, or it refuses.
    """
    path = sweep.workdir / FILE_NAME
    write_text(path, script)
    command = shlex.join(["sbatch", str(path)])
    if not at_once:
        return command
    if not shutil.which("sbatch"):
        raise ValueError(f"there is no sbatch on this machine; where there is one, run: {command}")
    result = subprocess.run(["sbatch", str(path)], capture_output=True, text=True)
    if result.returncode:
        raise ValueError(f"{command}: {result.stderr.strip()}")
    return result.stdout.strip()
