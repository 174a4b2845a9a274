"""How much of what the devices could do a step uses."""

import functools
import time

import jax
import jax.numpy as jnp

# Part of ``device_kind`` -> FLOP/s of one device in dense bfloat16 products with float32 sums, as the makers state it.
# The first part that occurs counts, so longer names stand before shorter ones.
PEAK_FLOPS = {
    # NVIDIA H200 data sheet: 1,979 TFLOP/s with 2:4 sparsity, half of that without.
    "H200": 989e12,
    # NVIDIA H100 data sheet: SXM 1,979, PCIe 1,513, NVL 1,671 TFLOP/s with sparsity.
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    # NVIDIA A100 data sheet, both sizes of memory.
    "A100": 312e12,
    # NVIDIA V100 data sheet, SXM2; it has no bfloat16, this is float16.
    "V100": 125e12,
    # Google Cloud, "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e": peak compute per chip. A v4 and a v5p chip is one device.
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
}
# Side of the square matrices that an unknown device multiplies: 2 GFLOP, some 20 ms on two cores.
_SIDE = 1024
_REPEATS = 5


def peak_flops(device: jax.Device) -> float:
    """FLOP/s that a device can reach at best: from a table, or by a short float32 matrix product.

    Devices into which one CPU is split share its cores: each is given the speed of all of them.

    Args:
      device: of this process or another.

    Returns:
      of one device; measured once per kind of device and process.
    """
    for part, flops in PEAK_FLOPS.items():
        if part.lower() in device.device_kind.lower():
            return flops
    return _measured_flops(device.platform, device.device_kind)


@functools.cache
def _measured_flops(platform: str, kind: str) -> float:
    """The fastest of a few products of square matrices on the first device of this kind that is at hand."""
    device = next(device for device in jax.local_devices(backend=platform) if device.device_kind == kind)
    matrix = jax.device_put(jnp.full((_SIDE, _SIDE), 1 / _SIDE, jnp.float32), device)
    multiply = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    multiply(matrix).block_until_ready()
    fastest = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        multiply(matrix).block_until_ready()
        fastest = min(fastest, time.perf_counter() - start)
    return 2.0 * _SIDE**3 / fastest


def model_flop_utilisation(flops: float, seconds: float, num_devices: int, peak: float) -> float:
    """``flops / (seconds * num_devices * peak)``: the share of the devices' peak that a step reaches.

    Args:
      flops: of one step on all devices together.
      seconds: of one step.
      num_devices: that share the step.
      peak: FLOP/s of one of them, see `peak_flops`.

    Returns:
      1 where every device works at its peak all the time.

    Raises:
      ValueError: seconds, num_devices or peak is not positive.

    Source: Chowdhery et al., PaLM: Scaling Language Modeling with Pathways, 2022, appendix B.
    """
    for name, value in {"seconds": seconds, "num_devices": num_devices, "peak": peak}.items():
        if not value > 0:
            raise ValueError(f"{name}={value}: must be greater than 0.")
    return flops / (seconds * num_devices * peak)
