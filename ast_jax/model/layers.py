"""The few neural building blocks that every branch shares. Plain parameters, no state, no dropout."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ast_jax.arrays import Array, StaticArray
from ast_jax.model.axes import constrain, named

# Wavelengths of the sine positions run from 2 pi to 2 pi * 10000 (Vaswani et al. 2017, section 3.5).
_SINE_TEMPERATURE = 10000.0
# Octaves of template positions: the highest has a period of 1/4, that of neighbours on icosphere level 2.
NUM_FREQUENCIES = 4
EMBEDDING_DEVIATION = 0.02  # as the embeddings of BERT and ViT; the template position dominates at first


class Sizes(NamedTuple):
    """What every branch is made for.

    Args:
      dim: embedding size d, also of the summary.
      heads: of attention.
      mlp_ratio: hidden size of the MLPs over d.
      channels: of the encoder's maps, finest first.
      norm_order: of decoder layers, see `ast_jax.model.decoders.transformer.DecoderLayer`.
    """

    dim: int
    heads: int
    mlp_ratio: int
    channels: tuple[int, ...]
    norm_order: str = "pre"


def scaled_normal(gain: float) -> Callable:
    """Initialiser of kernels [..., inputs, outputs]: normal with variance gain / fan-in.

    Random numbers are drawn in powers of two, so that a network of a hundred kernel shapes compiles a dozen
    generators instead of a hundred: 1 s instead of 28 s of CPU for the smallest model (measured).

    Args:
      gain: 1 keeps the variance of a linear layer (LeCun et al. 1998), 2 that before a ReLU (He et al. 2015).
    """

    def initialise(key, shape, dtype=jnp.float32, **unused):
        count = math.prod(shape)
        values = jax.random.normal(key, (1 << (count - 1).bit_length(),), dtype)
        if not isinstance(values, jax.core.Tracer):
            values = np.asarray(values)
        deviation = (gain / math.prod(shape[:-1])) ** 0.5
        return jnp.asarray(values[:count].reshape(shape) * np.asarray(deviation, dtype))

    return initialise


class Mlp(nnx.Module):
    """Linear layers with GELU in between; the last one may start at zero.

    Every second boundary between layers is the axis "mlp": splitting it over devices takes one sum for two layers.

    Source of the split: Shoeybi et al. 2019 (Megatron-LM), section 3.
    """

    def __init__(self, sizes: tuple[int, ...], *, zero_last: bool = False, last_bias: bool = True, rngs: nnx.Rngs):
        layers = []
        for i, (size_in, size_out) in enumerate(zip(sizes[:-1], sizes[1:])):
            is_last = i == len(sizes) - 2
            kernel_init = nnx.initializers.zeros if is_last and zero_last else scaled_normal(1.0)
            use_bias = last_bias or not is_last
            axes = ("mlp", "embed") if i % 2 else ("embed", "output" if is_last else "mlp")
            layers.append(
                nnx.Linear(
                    size_in,
                    size_out,
                    kernel_init=kernel_init,
                    use_bias=use_bias,
                    kernel_metadata=named(*axes),
                    bias_metadata=named(axes[1]),
                    rngs=rngs,
                )
            )
        self.layers = nnx.List(layers)

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b o"]:
        for i, layer in enumerate(self.layers[:-1]):
            x = nnx.gelu(layer(x))
            if x.ndim == 3 and not i % 2:
                x = constrain(x, "batch", "tokens", "mlp")
        return self.layers[-1](x)


def linear(size_in: int, size_out: int, *, use_bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer that keeps the variance of its input."""
    return nnx.Linear(size_in, size_out, use_bias=use_bias, kernel_init=scaled_normal(1.0), rngs=rngs)


class Attention(nnx.Module):
    """Multi-head attention; kernels keep their head axis, so that heads can be split over devices.

    softmax(Q K^T / sqrt(d/n)) V per head, then one linear map over all heads.

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, dim: int, heads: int, *, rngs: nnx.Rngs):
        if dim % heads:
            raise ValueError(f"config.model.dim={dim} is not a multiple of config.model.heads={heads}; choose another.")
        split = (heads, dim // heads)
        init = dict(kernel_init=scaled_normal(1.0), rngs=rngs)
        per_head = ("heads", "head_dim")
        into = dict(init, kernel_metadata=named("embed", *per_head), bias_metadata=named(*per_head))
        self.query = nnx.LinearGeneral(dim, split, **into)
        self.key = nnx.LinearGeneral(dim, split, **into)
        self.value = nnx.LinearGeneral(dim, split, **into)
        out = dict(init, kernel_metadata=named(*per_head, "embed"), bias_metadata=named("embed"))
        self.out = nnx.LinearGeneral(split, dim, axis=(-2, -1), **out)

    def __call__(
        self, x: Float[Array, "b q d"], memory: Float[Array, "b l d"], *, return_weights: bool = False
    ) -> tuple[Float[Array, "b q d"], Float[Array, "b n q l"] | None]:
        """Each query gathers from the memory; the weights are returned only when asked for."""
        projected = (self.query(x), self.key(memory), self.value(memory))
        query, key, value = (constrain(x.swapaxes(1, 2), "batch", "heads", "tokens", "head_dim") for x in projected)
        scale = query.shape[-1] ** -0.5
        # Scores, their exponentials and sums are float32 whatever the rest is computed in.
        scores = jnp.einsum("bnqc,bnlc->bnql", query * scale, key, preferred_element_type=jnp.float32)
        # Dividing after the sum over tokens instead of normalising the weights first halves the cost of the
        # backward pass on a CPU (measured against jax.nn.dot_product_attention: 0.035 s to 0.080 s for 162 x
        # 336, batch 16).
        powers = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        total = powers.sum(-1, keepdims=True)
        gathered = jnp.einsum("bnql,bnlc->bnqc", powers.astype(value.dtype), value) / total.astype(value.dtype)
        return self.out(gathered.swapaxes(1, 2)), powers / total if return_weights else None


def fourier(points: Float[Array, "*b m 3"], num_frequencies: int) -> Float[Array, "*b m c"]:
    """Coordinates and their sines and cosines: x, sin(2^k pi x), cos(2^k pi x) for k < num_frequencies.

    Args:
      points: in [-1, 1], the range in which the lowest frequency does not repeat.
      num_frequencies: octaves, >= 0.
    Returns:
      3 + 6 * num_frequencies features.
    Source: Mildenhall et al. 2020 (NeRF), equation 4.
    """
    xp = np if isinstance(points, np.ndarray) else jnp
    phases = [points * float(np.pi * 2**k) for k in range(num_frequencies)]
    return xp.concatenate([points, *(f(phase) for phase in phases for f in (xp.sin, xp.cos))], axis=-1)


@functools.cache
def sine_positions(height: int, width: int, dim: int) -> np.ndarray:
    """Fixed 2-D position of each cell of a feature map, half of the channels for y and half for x.

    Coordinates are normalised to (0, 2 pi], so that maps of different sizes agree where they overlap.

    Args:
      height, width: cells of the map.
      dim: channels, a multiple of 4.
    Returns:
      float32 ``[height * width, dim]``, row by row from the top.
    Raises:
      ValueError: dim is not a multiple of 4.
    Source: Carion et al. 2020 (DETR), section 3.2 and its released position encoding.
    """
    if dim % 4:
        raise ValueError(f"dim={dim} must be a multiple of 4 for the 2-D sine positions")
    octave = _SINE_TEMPERATURE ** (np.arange(dim // 4) / (dim // 4))
    # Cell centres rather than DETR's 1-based cell indices: then coarse and fine maps of one picture line up.
    y = (np.arange(height) + 0.5)[:, None] / height * 2 * np.pi / octave
    x = (np.arange(width) + 0.5)[:, None] / width * 2 * np.pi / octave
    rows = np.concatenate([np.sin(y), np.cos(y)], -1)[:, None]
    columns = np.concatenate([np.sin(x), np.cos(x)], -1)[None]
    both = [np.broadcast_to(part, (height, width, dim // 2)) for part in (rows, columns)]
    return np.concatenate(both, -1).reshape(height * width, dim).astype(np.float32)


class QueryEmbedding(nnx.Module):
    """Where each query starts: a learned vector, its place on the template, and what the whole picture says.

    Args:
      positions: template positions of the queries, on or in the unit sphere.
      dim: embedding size d.
      condition_on_global: whether the picture's summary is added.
    """

    def __init__(self, positions: Float[np.ndarray, "q 3"], dim: int, *, condition_on_global: bool, rngs: nnx.Rngs):
        features = fourier(positions, NUM_FREQUENCIES)
        q = len(positions)
        init = scaled_normal(q * EMBEDDING_DEVIATION**2)
        self.learned = nnx.Param(init(rngs.params(), (q, dim)), **named("queries", "embed"))
        self.position = linear(features.shape[-1], dim, rngs=rngs)
        self.condition = linear(dim, dim, use_bias=False, rngs=rngs) if condition_on_global else None
        self.features = StaticArray(features.astype(np.float32))

    def __call__(self, summary: Float[Array, "b d"]) -> Float[Array, "b q d"]:
        features = jnp.asarray(self.features.array, self.learned.dtype)
        queries = (self.learned[...] + self.position(features))[None]
        if self.condition is None:
            queries = jnp.broadcast_to(queries, (len(summary), *queries.shape[1:]))
        else:
            queries = queries + self.condition(summary)[:, None]
        return constrain(queries, "batch", "tokens", "embed")
