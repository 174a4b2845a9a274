"""Several processes, one run: which cluster this is, and joining the others before any device is touched.

jax finds the addresses and numbers by itself in the clusters listed here. What it does not do is say in one line why it
could not, and refuse a start that would quietly use a part of the machine; that is added here.
"""

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import jax
from absl import logging

# jax's own default. Hosts of a large pod may come up minutes apart.
TIMEOUT_SECONDS = 300
_LONGEST_EVALUATION_SECONDS = 24 * 3600  # chosen; jax's default of five minutes would abort the processes at work
_PATIENCE_SECONDS = 20  # chosen; after this a waiting process says what it is waiting for
_SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_ALONE = "If one process is meant, say --num_processes=1."
Environ = Mapping[str, str]


def _is_open_mpi(environ: Environ) -> bool:
    return _number(environ, "OMPI_COMM_WORLD_SIZE") > 1


def _is_slurm(environ: Environ) -> bool:
    """Inside ``srun``: a batch script alone knows no SLURM_STEP_NODELIST."""
    return all(name in environ for name in _SLURM_STEP) and _number(environ, "SLURM_NTASKS") > 1


def _is_tpu(environ: Environ) -> bool:
    """On a machine with TPU chips jax sets TPU_ML_PLATFORM when it is imported.

    Where no list of workers is given, only Google's metadata server knows whether there are others: jax asks it.
    """
    if "TPU_ML_PLATFORM" not in environ or "tpu" not in environ.get("JAX_PLATFORMS", "tpu"):
        return False
    return _tpu_hosts(environ) > 1 or not (_tpu_hosts(environ) or "TPU_SKIP_MDS_QUERY" in environ)


def _is_kubernetes(environ: Environ) -> bool:
    """A pod of an indexed job; any other pod, such as a notebook's, is a machine for itself."""
    return "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ


# In the order in which jax looks, so that both see the same one.
CLUSTERS: tuple[tuple[str, Callable[[Environ], bool]], ...] = (
    ("Open MPI", _is_open_mpi),
    ("SLURM", _is_slurm),
    ("Cloud TPU", _is_tpu),
    ("Kubernetes", _is_kubernetes),
    ("JAX_COORDINATOR_ADDRESS", lambda environ: bool(environ.get("JAX_COORDINATOR_ADDRESS"))),
)
_HINTS = {
    "Open MPI": "Open MPI 5 tells nobody where process 0 runs: pip install mpi4py, or mpirun -x "
    "JAX_COORDINATOR_ADDRESS=host:port.",
    "SLURM": "Check that all tasks run and see each other, and that the port is free (JAX_COORDINATOR_PORT).",
    "Cloud TPU": "The same command must run on every host of the slice (gcloud ... --worker=all).",
    "Kubernetes": 'It needs pip install "jax[k8s]", an indexed job and a headless service as its subdomain.',
    "JAX_COORDINATOR_ADDRESS": "It names no number of processes: give --coordinator, --num_processes, --process_id.",
}


def find_cluster(environ: Environ) -> str | None:
    """Which of `CLUSTERS` started this process.

    Args:
      environ: environment variables.

    Returns:
      its name; None where there is one process alone.
    """
    return next((name for name, test in CLUSTERS if test(environ)), None)


def count_processes(environ: Environ) -> int:
    """How many processes the cluster says it started; 0 where the environment does not tell."""
    counts = {"Open MPI": "OMPI_COMM_WORLD_SIZE", "SLURM": "SLURM_NTASKS"}
    name = find_cluster(environ)
    return _tpu_hosts(environ) if name == "Cloud TPU" else _number(environ, counts.get(name or "", ""))


def initialize(
    coordinator: str = "",
    num_processes: int = 0,
    process_id: int = -1,
    *,
    environ: Environ | None = None,
    timeout_seconds: int = TIMEOUT_SECONDS,
) -> int:
    """Join the other processes of this run, if there are any; a second call does nothing.

    It has to run before jax touches a device. Where one of the others never comes the process ends itself after
    ``timeout_seconds`` with one line: jax would abort it from C++ with a stack trace.

    Args:
      coordinator: host and port of process 0, such as ``10.0.0.1:1234``.
      num_processes: of the run. 1 without a coordinator: this process alone, whatever cluster it is in.
      process_id: of this process, from 0. All three are given, or none: then the cluster tells.
      environ: environment variables; None: those of the process.
      timeout_seconds: how long to wait for the others.

    Returns:
      how many processes there should be; 0 where only jax knows.

    Raises:
      ValueError: the arguments do not fit, or the start would leave devices of the cluster idle.
      RuntimeError: jax could not join the others.
    """
    environ = os.environ if environ is None else environ
    if num_processes == 1 and not coordinator and process_id <= 0:
        return 1
    if coordinator or num_processes or process_id >= 0:
        name, count = f"--coordinator={coordinator}", num_processes
        arguments = _given(coordinator, num_processes, process_id)
    else:
        name, count = find_cluster(environ), count_processes(environ)
        if name is None:
            _check_forgotten_srun(environ)
            return 0
        if name == "SLURM":
            check_slurm_gpus(environ, visible_gpus(environ))
        arguments = _open_mpi_5(environ) if name == "Open MPI" else {}
    if not jax.distributed.is_initialized():
        _join(name, arguments, timeout_seconds)
    return count


def _given(coordinator: str, num_processes: int, process_id: int) -> dict:
    """Arguments for jax; without looking for a cluster, which might hide all GPUs but one."""
    flags = f"--coordinator={coordinator} --num_processes={num_processes} --process_id={process_id}"
    if not coordinator or num_processes < 1 or process_id < 0:
        raise ValueError(f"{flags}: give all three, or none of them.")
    if process_id >= num_processes:
        raise ValueError(f"{flags}: the ids of {num_processes} processes are 0 to {num_processes - 1}.")
    if not coordinator.rpartition(":")[2].isdigit():
        raise ValueError(f"{flags}: the coordinator is host:port, such as 10.0.0.1:1234.")
    return dict(
        coordinator_address=coordinator,
        num_processes=num_processes,
        process_id=process_id,
        cluster_detection_method="deactivate",
    )


def _open_mpi_5(environ: Environ) -> dict:
    """Arguments that jax cannot find by itself under Open MPI 5, which no longer sets the address of its launcher."""
    if "OMPI_MCA_orte_hnp_uri" in environ:
        return {}
    if not environ.get("JAX_COORDINATOR_ADDRESS"):
        return dict(cluster_detection_method="mpi4py") if importlib.util.find_spec("mpi4py") else {}
    found = _given(
        environ["JAX_COORDINATOR_ADDRESS"],
        _number(environ, "OMPI_COMM_WORLD_SIZE"),
        _number(environ, "OMPI_COMM_WORLD_RANK"),
    )
    # One GPU per process, as jax does under Open MPI 4.
    if not environ.get("JAX_LOCAL_DEVICE_IDS"):
        found["local_device_ids"] = [_number(environ, "OMPI_COMM_WORLD_LOCAL_RANK")]
    return found


def _join(name: str, arguments: dict, timeout_seconds: int) -> None:
    # jax would catch SIGTERM for good, and a process that is not in its training loop could not be stopped any more;
    # see training.preemption.
    jax.config.update("jax_enable_preemption_service", False)
    with _deadline(name, timeout_seconds):
        try:
            jax.distributed.initialize(
                **arguments,
                initialization_timeout=timeout_seconds + 60,
                # The first to finish waits for the last, which may be evaluating still. Dead ones are noticed by their
                # heartbeat, whatever this is.
                shutdown_timeout_seconds=_LONGEST_EVALUATION_SECONDS,
            )
        except Exception as error:  # whatever it is, nobody may train alone what many should train
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            hint = _HINTS.get(name, "")
            raise RuntimeError(f"{name}: could not start jax.distributed ({reason}). {hint} {_ALONE}") from error


@contextlib.contextmanager
def _deadline(name: str, seconds: int) -> Generator[None]:
    """Ends the process with one line before jax's C++ aborts it with thirty."""

    def warn() -> None:
        logging.warning("%s: waiting for the other processes, up to %d s", name, seconds)

    def end() -> None:
        hint = _HINTS.get(name, "Is process 0 running, is that its address, and is the port free and open?")
        print(f"error: {name}: not all processes came within {seconds} s. {hint} {_ALONE}", file=sys.stderr, flush=True)
        os._exit(1)

    timers = [threading.Timer(min(_PATIENCE_SECONDS, seconds), warn), threading.Timer(seconds, end)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _check_forgotten_srun(environ: Environ) -> None:
    """A batch script runs once, whatever number of tasks the job has."""
    tasks = _number(environ, "SLURM_NTASKS")
    if tasks > 1 and "SLURM_PROCID" in environ and "SLURM_STEP_NODELIST" not in environ:
        raise ValueError(f"SLURM_NTASKS={tasks}, but only this process was started: put srun in front. {_ALONE}")


def check_slurm_gpus(environ: Environ, gpus: int) -> None:
    """Under SLURM jax gives task i of a node GPU number i, and only that one.

    Args:
      environ: environment variables of a task.
      gpus: that this task sees.

    Raises:
      ValueError: there would be idle GPUs, or tasks without one.
    """
    nodes = _number(environ, "SLURM_STEP_NUM_NODES") or _number(environ, "SLURM_NNODES")
    tasks = _number(environ, "SLURM_NTASKS") // nodes if nodes else _number(environ, "SLURM_NTASKS_PER_NODE")
    if gpus and tasks and tasks != gpus and not environ.get("JAX_LOCAL_DEVICE_IDS"):
        raise ValueError(
            f"{tasks} SLURM tasks per node see {gpus} GPUs each, and jax gives task i GPU number i alone. Either srun "
            "--ntasks-per-node=N with all N GPUs visible to each task (--gpus-per-node, not --gpus-per-task), or one "
            f"task per node with JAX_LOCAL_DEVICE_IDS={','.join(map(str, range(gpus)))}."
        )


def visible_gpus(environ: Environ, devices: str | Path = "/dev") -> int:
    """NVIDIA GPUs that this process may use, found without starting jax's backend.

    Args:
      environ: environment variables.
      devices: folder of the device files.
    """
    platforms = environ.get("JAX_PLATFORMS", "").split(",")
    if platforms != [""] and not {"cuda", "gpu"} & set(platforms):
        return 0
    if "CUDA_VISIBLE_DEVICES" in environ:
        names = (name.strip() for name in environ["CUDA_VISIBLE_DEVICES"].split(","))
        return sum(name not in ("", "-1", "NoDevFiles") for name in names)
    return sum(path.name.removeprefix("nvidia").isdigit() for path in Path(devices).glob("nvidia*"))


def _tpu_hosts(environ: Environ) -> int:
    """Hosts of a TPU pod as its environment lists them, over all slices; 0 where it does not."""
    workers = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES")
    return len(workers.split(",")) * max(1, _number(environ, "MEGASCALE_NUM_SLICES")) if workers else 0


def _number(environ: Environ, name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdigit() else 0
