"""Attention, positions and the decoder stack against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ast_jax.model.decoders.transformer import DecoderLayer, QueryDecoder
from ast_jax.model.layers import Attention, fourier, sine_positions


def _attention_by_hand(params, x, memory):
    """One head and one query at a time, in float64."""

    def project(name, rows):
        kernel, bias = np.float64(params[name]["kernel"]), np.float64(params[name]["bias"])
        return np.einsum("ld,dnc->nlc", rows, kernel) + bias[:, None]

    query, key, value = project("query", x), project("key", memory), project("value", memory)
    out = np.zeros_like(x)
    weights = np.zeros((len(query), len(x), len(memory)))
    for n in range(len(query)):
        for q in range(len(x)):
            scores = key[n] @ query[n, q] / np.sqrt(query.shape[-1])
            weights[n, q] = np.exp(scores) / np.exp(scores).sum()
            out[q] += weights[n, q] @ value[n] @ np.float64(params["out"]["kernel"][n])
    return out + np.float64(params["out"]["bias"]), weights


def test_attention_equals_the_plain_sum():
    attention = Attention(8, 2, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 5, 8)), rng.normal(size=(2, 7, 8))
    params = nnx.to_pure_dict(nnx.state(attention))
    out, weights = attention(jnp.float32(x), jnp.float32(memory), return_weights=True)
    for i in range(2):
        expected_out, expected_weights = _attention_by_hand(params, x[i], memory[i])
        np.testing.assert_allclose(out[i], expected_out, atol=2e-6)
        np.testing.assert_allclose(weights[i], expected_weights, atol=2e-6)
    alone, nothing = attention(jnp.float32(x), jnp.float32(memory))
    assert nothing is None
    np.testing.assert_array_equal(alone, out)


def test_attention_survives_huge_scores():
    attention = Attention(8, 2, rngs=nnx.Rngs(0))
    x = 1e4 * jnp.ones((1, 2, 8)) * jnp.array([1.0, -1.0])[None, :, None]
    grads = jax.grad(lambda x: attention(x, x)[0].sum())(x)
    assert np.isfinite(attention(x, x)[0]).all() and np.isfinite(grads).all()


def _layer_by_hand(params, queries, tokens, norm_order):
    """Self-attention, cross-attention and MLP, each with its norm before it or after the sum, in float64."""

    def norm(name, x):
        scale, bias = (np.float64(params[name][part]) for part in ("scale", "bias"))
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale + bias

    def mlp(x):
        first, last = (params["mlp"]["layers"][i] for i in range(2))
        hidden = x @ np.float64(first["kernel"]) + first["bias"]
        # GELU as flax has it, with the hyperbolic tangent (Hendrycks and Gimpel 2016).
        hidden = hidden / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        return hidden @ np.float64(last["kernel"]) + last["bias"]

    def read(x):
        return _attention_by_hand(params["cross_attention"], x, tokens)[0]

    parts = {
        "self_norm": lambda x: _attention_by_hand(params["self_attention"], x, x)[0],
        "cross_norm": read,
        "mlp_norm": mlp,
    }
    for name, part in parts.items():
        queries = queries + part(norm(name, queries)) if norm_order == "pre" else norm(name, queries + part(queries))
    return queries


@pytest.mark.parametrize("norm_order", ["pre", "post"])
def test_a_layer_normalises_before_or_after_each_part(norm_order):
    layer = DecoderLayer(8, 2, 2, self_attention=True, norm_order=norm_order, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    nnx.update(layer, jax.tree.map(lambda x: np.float32(0.3 * rng.normal(size=x.shape)), nnx.state(layer)))
    queries, tokens = rng.normal(size=(2, 5, 8)), rng.normal(size=(2, 7, 8))
    answer, _ = layer(jnp.float32(queries), jnp.float32(tokens), return_weights=False)
    params = nnx.to_pure_dict(nnx.state(layer))
    for i in range(2):
        np.testing.assert_allclose(answer[i], _layer_by_hand(params, queries[i], tokens[i], norm_order), atol=1e-5)


def test_decoder_gives_every_layer_and_attends_to_all_tokens():
    decoder = QueryDecoder(8, 2, 3, 2, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    queries, tokens = jnp.float32(rng.normal(size=(2, 5, 8))), jnp.float32(rng.normal(size=(2, 7, 8)))
    outputs, weights = decoder(queries, tokens, return_weights=True)
    assert [o.shape for o in outputs] == [(2, 5, 8)] * 3 and [w.shape for w in weights] == [(2, 2, 5, 7)] * 3
    np.testing.assert_allclose(np.stack(weights).sum(-1), 1, atol=1e-6)
    # Without positions tokens are a set: their order must not matter.
    shuffled, _ = decoder(queries, tokens[:, ::-1])
    np.testing.assert_allclose(shuffled[-1], outputs[-1], atol=1e-5)


def test_queries_are_independent_without_self_attention():
    rng = np.random.default_rng(0)
    queries, tokens = jnp.float32(rng.normal(size=(1, 5, 8))), jnp.float32(rng.normal(size=(1, 7, 8)))
    for self_attention in (False, True):
        decoder = QueryDecoder(8, 2, 1, 2, self_attention=self_attention, rngs=nnx.Rngs(0))
        all_of_them, first_two = decoder(queries, tokens)[0][-1], decoder(queries[:, :2], tokens)[0][-1]
        assert np.allclose(all_of_them[:, :2], first_two, atol=1e-5) != self_attention


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="dim=10 is not a multiple of .*heads=4"):
        Attention(10, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="layers=0"):
        QueryDecoder(8, 2, 0, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_positions(2, 2, 6)


def test_sine_positions_follow_the_formula():
    positions = sine_positions(3, 5, 8).reshape(3, 5, 8)
    y, x = 2 * np.pi * 1.5 / 3, 2 * np.pi * 4.5 / 5  # centre of cell (1, 4)
    # dim 8: two wavelengths, 1 and 10000^(1/2) = 100; sin y, cos y, sin x, cos x
    expected = [f(c / k) for c in (y, x) for f in (np.sin, np.cos) for k in (1, 100)]
    np.testing.assert_allclose(positions[1, 4], expected, atol=1e-6)
    assert len(np.unique(positions.reshape(-1, 8).round(5), axis=0)) == 15


def test_fourier_features_by_hand():
    features = fourier(np.array([[0.25, 0.0, -1.0]]), 2)
    x = np.pi * np.array([0.25, 0.0, -1.0])
    expected = np.concatenate([x / np.pi, np.sin(x), np.cos(x), np.sin(2 * x), np.cos(2 * x)])
    np.testing.assert_allclose(features[0], expected, atol=1e-12)
