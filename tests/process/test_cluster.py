"""Which cluster an environment means, and what is refused; real processes are in tests/multiprocess."""

import jax
import pytest
from absl import logging

from ast_jax.process import cluster, runtime

BATCH = dict(SLURM_JOB_ID="7", SLURM_NTASKS="8", SLURM_NNODES="2", SLURM_PROCID="0", SLURM_LOCALID="0")
STEP = BATCH | dict(SLURM_STEP_NODELIST="node[1-2]", SLURM_STEP_NUM_NODES="2")
OPEN_MPI = dict(OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="1", OMPI_COMM_WORLD_LOCAL_RANK="1")
POD = dict(KUBERNETES_SERVICE_HOST="10.0.0.1", HOSTNAME="train-0-abcde")
TPU = dict(TPU_ML_PLATFORM="JAX")
ADDRESS = dict(JAX_COORDINATOR_ADDRESS="10.0.0.1:1234")

ENVIRONMENTS = {
    "nothing": ({}, None, 0),
    "srun": (STEP, "SLURM", 8),
    "srun with one task": (STEP | dict(SLURM_NTASKS="1"), None, 0),
    "a batch script without srun": (BATCH, None, 0),
    "mpirun": (OPEN_MPI, "Open MPI", 4),
    "mpirun with one process": (OPEN_MPI | dict(OMPI_COMM_WORLD_SIZE="1"), None, 0),
    # Its daemons are started by srun, and every process inherits their variables.
    "mpirun inside of a SLURM job": (STEP | OPEN_MPI, "Open MPI", 4),
    "an indexed job of Kubernetes": (POD | dict(JOB_COMPLETION_INDEX="3"), "Kubernetes", 0),
    "a notebook in Kubernetes": (POD, None, 0),
    "a TPU pod on Kubernetes": (
        TPU | POD | dict(JOB_COMPLETION_INDEX="1", TPU_WORKER_HOSTNAMES="a,b,c,d", TPU_SKIP_MDS_QUERY="1"),
        "Cloud TPU",
        4,
    ),
    "two slices of two hosts": (TPU | dict(TPU_WORKER_HOSTNAMES="a,b", MEGASCALE_NUM_SLICES="2"), "Cloud TPU", 4),
    "one TPU host that knows it": (TPU | dict(TPU_WORKER_HOSTNAMES="localhost"), None, 0),
    "a TPU machine of Compute Engine": (TPU, "Cloud TPU", 0),
    "a TPU machine without neighbours": (TPU | dict(TPU_SKIP_MDS_QUERY="1"), None, 0),
    "a TPU machine that shall use its CPU": (TPU | dict(JAX_PLATFORMS="cpu"), None, 0),
    "TPU variables, no chips": (dict(TPU_WORKER_HOSTNAMES="a,b"), None, 0),
    "an address alone": (ADDRESS, "JAX_COORDINATOR_ADDRESS", 0),
    "an address for a cluster that is known": (STEP | ADDRESS, "SLURM", 8),
}


@pytest.fixture
def calls(monkeypatch):
    """What jax.distributed.initialize is called with, instead of calling it."""
    made = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: made.append(arguments))
    service = jax.config.jax_enable_preemption_service
    yield made
    jax.config.update("jax_enable_preemption_service", service)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_environment_names_the_cluster(name):
    environ, found, count = ENVIRONMENTS[name]
    assert cluster.find_cluster(environ) == found
    assert cluster.count_processes(environ) == count


def test_one_process_alone_starts_nothing(calls):
    assert cluster.initialize(environ={}) == 0
    # Units of a sweep may be tasks of one job, each for itself.
    assert cluster.initialize(num_processes=1, environ=STEP) == 1
    assert not calls


def test_flags_win_over_the_cluster_and_see_all_devices(calls):
    assert cluster.initialize("host:1234", 2, 1, environ=STEP) == 2
    ((arguments),) = calls
    expected = dict(coordinator_address="host:1234", num_processes=2, process_id=1)
    assert arguments.items() >= expected.items()
    # Else jax would look for SLURM, and take the one GPU of this task's number.
    assert arguments["cluster_detection_method"] == "deactivate" and "local_device_ids" not in arguments


def test_a_cluster_that_jax_knows_needs_no_arguments(calls):
    assert cluster.initialize(environ=STEP | dict(JAX_PLATFORMS="cpu")) == 8
    assert cluster.initialize(environ=OPEN_MPI | dict(OMPI_MCA_orte_hnp_uri="1;tcp://10.0.0.1:1")) == 4
    assert all(not name.startswith(("coord", "num", "process", "local", "cluster")) for call in calls for name in call)


def test_open_mpi_5_gets_what_it_does_not_tell(calls, monkeypatch):
    cluster.initialize(environ=OPEN_MPI | ADDRESS)
    assert calls[0]["coordinator_address"] == "10.0.0.1:1234" and calls[0]["local_device_ids"] == [1]
    cluster.initialize(environ=OPEN_MPI | ADDRESS | dict(JAX_LOCAL_DEVICE_IDS="0,1"))
    assert "local_device_ids" not in calls[1]
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: name == "mpi4py")
    cluster.initialize(environ=OPEN_MPI)
    assert calls[2]["cluster_detection_method"] == "mpi4py"


def test_a_second_call_does_nothing(calls, monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    assert cluster.initialize("host:1234", 2, 1, environ={}) == 2
    assert not calls


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("host:1234",), "--coordinator=host:1234 --num_processes=0 --process_id=-1: give all three, or none"),
        (("", 2, 0), "all three, or none"),
        (("", 0, 1), "all three, or none"),
        (("host:1234", 2), "all three, or none"),
        (("host:1234", 2, 2), "ids of 2 processes are 0 to 1"),
        (("host", 2, 1), "host:port"),
    ],
)
def test_flags_that_do_not_fit(calls, arguments, says):
    with pytest.raises(ValueError, match=says):
        cluster.initialize(*arguments, environ={})
    assert not calls


def test_a_batch_script_that_forgets_srun_is_refused(calls):
    with pytest.raises(ValueError, match="SLURM_NTASKS=8.*srun in front.*--num_processes=1"):
        cluster.initialize(environ=BATCH)
    interactive = {name: value for name, value in BATCH.items() if name not in ("SLURM_PROCID", "SLURM_LOCALID")}
    assert cluster.initialize(environ=interactive) == 0 and not calls


def test_what_jax_says_is_not_swallowed(monkeypatch):
    def refuse(**_):
        raise ValueError("coordinator_address should be defined.\nand more")

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    for environ, hint in (
        (OPEN_MPI, "mpi4py"),
        (POD | dict(JOB_COMPLETION_INDEX="3"), r"jax\[k8s\]"),
        (ADDRESS, "give"),
    ):
        with pytest.raises(RuntimeError, match=rf"\(coordinator_address should be defined\)\. .*{hint}") as caught:
            cluster.initialize(environ=environ)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, gpus, fits",
    [
        ({}, 4, True),
        ({}, 0, True),
        (dict(SLURM_NTASKS="2"), 4, False),
        (dict(SLURM_NTASKS="2"), 1, True),
        (dict(SLURM_NTASKS="2", JAX_LOCAL_DEVICE_IDS="0,1,2,3"), 4, True),
        # --gpus-per-task=1: task 3 would look for GPU number 3 among one.
        ({}, 1, False),
        (dict(SLURM_STEP_NUM_NODES="", SLURM_NNODES="", SLURM_NTASKS_PER_NODE="1"), 8, False),
    ],
)
def test_slurm_tasks_have_to_be_as_many_as_gpus(change, gpus, fits):
    if fits:
        return cluster.check_slurm_gpus(STEP | change, gpus)
    with pytest.raises(ValueError, match="--ntasks-per-node=N.*JAX_LOCAL_DEVICE_IDS=0"):
        cluster.check_slurm_gpus(STEP | change, gpus)


def test_gpus_are_counted_without_starting_jax(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    count = {
        value: cluster.visible_gpus({"CUDA_VISIBLE_DEVICES": value}, tmp_path)
        for value in ("0,1,2", "GPU-8a1b", "", "-1", "NoDevFiles")
    }
    assert count == {"0,1,2": 3, "GPU-8a1b": 1, "": 0, "-1": 0, "NoDevFiles": 0}
    assert cluster.visible_gpus({}, tmp_path) == 2 == cluster.visible_gpus({"JAX_PLATFORMS": "cuda,cpu"}, tmp_path)
    assert cluster.visible_gpus({"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "0"}, tmp_path) == 0


def test_idle_gpus_are_refused_before_anything_starts(calls):
    with pytest.raises(ValueError, match="1 SLURM tasks per node see 4 GPUs"):
        cluster.initialize(environ=STEP | dict(SLURM_NTASKS="2", JAX_PLATFORMS="cuda", CUDA_VISIBLE_DEVICES="0,1,2,3"))
    assert not calls


@pytest.fixture
def settings():
    """Puts back what `runtime.setup` changes for the whole process."""
    names = ("compilation_cache_dir", "enable_compilation_cache", "persistent_cache_min_compile_time_secs")
    names = [f"jax_{name}" for name in (*names, "log_compiles", "debug_nans")]
    before = {name: getattr(jax.config, name) for name in names}
    verbosity = logging.get_verbosity()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    logging.set_verbosity(verbosity)


def test_a_surprise_is_refused(settings, monkeypatch):
    runtime.setup(num_processes=1, expect_devices=8)
    with pytest.raises(ValueError, match=r"--expect_devices=3, but there are 8 \(process 0/1: 8 local devices"):
        runtime.setup(num_processes=1, expect_devices=3)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(ValueError, match="2 processes were started, but jax knows 1"):
        runtime.setup(coordinator="localhost:1234", num_processes=2, process_id=0)


def test_settings_of_the_process(settings, tmp_path):
    runtime.setup(num_processes=1, compilation_cache_dir=str(tmp_path), log_compiles=True, debug_nans=True)
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)
    assert jax.config.jax_log_compiles and jax.config.jax_debug_nans
    runtime.setup(num_processes=1, compilation_cache_dir="none")
    assert not jax.config.jax_enable_compilation_cache


def test_only_the_first_process_talks(settings, monkeypatch):
    logging.set_verbosity(logging.INFO)
    runtime.setup(num_processes=1)
    assert logging.get_verbosity() == logging.INFO
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    runtime.setup(num_processes=1)
    assert logging.get_verbosity() == logging.WARNING
    logging.set_verbosity(logging.DEBUG)
    runtime.setup(num_processes=1)
    assert logging.get_verbosity() == logging.DEBUG
