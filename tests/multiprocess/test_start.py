"""Two real processes find each other, say what they have, and end with one line where that is not what was expected."""

import time

import pytest

from tests.multiprocess import launch

SCRIPT = ["-m", "tests.multiprocess.sum_script", "--cpu_devices=2"]


def _flags(port, index):
    return launch.by_hand(port, 2, index), {}


def _slurm(port, index):
    """As srun sets them for two tasks on one node; jax would choose a port by the job's number."""
    step = dict(SLURM_JOB_ID="4711", SLURM_STEP_NODELIST="localhost", SLURM_STEP_NUM_NODES="1", SLURM_NTASKS="2")
    return [], step | dict(SLURM_PROCID=str(index), SLURM_LOCALID=str(index), JAX_COORDINATOR_PORT=str(port))


def _open_mpi_5(port, index):
    """As mpirun of Open MPI 5 sets them, with the address that it does not set."""
    variables = dict(OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK=str(index), OMPI_COMM_WORLD_LOCAL_RANK=str(index))
    return [], variables | dict(JAX_COORDINATOR_ADDRESS=f"localhost:{port}")


@pytest.mark.parametrize("start", [_flags, _slurm, _open_mpi_5])
def test_two_processes_work_on_one_sum(start):
    port = launch.free_port()
    flags, environments = zip(*(start(port, index) for index in range(2)))
    commands = [[*SCRIPT, "--expect_devices=4", *more] for more in flags]
    for index, process in enumerate(launch.run(commands, environments)):
        assert process.code == 0, process.output
        said = [line for line in process.output.splitlines() if "Gloo" not in line]
        assert said[0].endswith(f"process {index}/2: 2 local devices, 4 global devices x cpu"), process.output
        assert "sum 6.0" in said
        assert ("said by the first process alone" in process.output) == (index == 0)


def test_a_process_that_misses_devices_ends_at_once_with_one_line():
    port, begin = launch.free_port(), time.monotonic()
    commands = [[*SCRIPT, *launch.by_hand(port, 2, index), f"--expect_devices={4 + 4 * index}"] for index in range(2)]
    _, failed = launch.run(commands)
    # jax alone would wait five minutes for the other process, which waits for the sum.
    assert failed.code == 1 and time.monotonic() - begin < 100
    *_, devices, error = failed.output.strip().splitlines()
    assert devices.endswith("process 1/2: 2 local devices, 4 global devices x cpu")
    assert error.startswith("error: --expect_devices=8, but there are 4 (process 1/2"), failed.output


def test_a_process_whose_others_never_come_ends_with_one_line():
    code = "from ast_jax.process import cluster; cluster.initialize('localhost:{}', 2, 1, timeout_seconds=2)"
    ((failed),) = launch.run([["-c", code.format(launch.free_port())]])
    assert failed.code == 1
    (error,) = [line for line in failed.output.splitlines() if "waiting for the other processes" not in line]
    assert error.startswith("error: --coordinator=localhost:") and "within 2 s. Is process 0 running" in error
