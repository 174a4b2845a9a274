"""Sizes and groups of collectives against programs whose traffic is known."""

import jax
import jax.numpy as jnp
import pytest

from ast_jax.training.sharding import make_mesh
from benchmarks.collectives import Collective, count_by_kind, find_collectives

MESH = (("data", 4), ("model", 2))


def _compiled(function, into, out, shape):
    mesh = make_mesh(MESH)
    place = lambda spec: jax.NamedSharding(mesh, spec)  # noqa: E731
    jitted = jax.jit(function, in_shardings=place(into), out_shardings=place(out))
    return find_collectives(jitted.lower(jax.ShapeDtypeStruct(shape, jnp.float32)).compile().as_text(), 8)


def test_a_sum_over_the_batch_is_one_all_reduce_of_the_rest():
    (found,) = _compiled(lambda x: x.sum(0), jax.P("data"), jax.P(), (8, 1000))
    assert found == Collective("all-reduce", 4000, 4)
    assert found.sent == 2 * 3 / 4 * 4000


def test_bringing_shares_together_is_an_all_gather():
    (found,) = _compiled(lambda x: 2 * x, jax.P(None, "model"), jax.P(), (10, 64))
    assert found == Collective("all-gather", 10 * 64 * 4, 2)
    assert found.sent == 10 * 64 * 4 / 2


def test_nothing_is_sent_where_everybody_has_all_it_needs():
    assert _compiled(lambda x: 2 * x, jax.P("data"), jax.P("data"), (8, 4)) == []


@pytest.mark.parametrize(
    "line, expected",
    [
        ("%a = (f32[4]{0}, bf16[2,3]{1,0}) all-reduce(x, y), replica_groups={{0,1},{2,3}}", (28, 2)),
        ("%a = f32[] all-reduce(x), replica_groups=[2,4]<=[8], to_apply=%add", (4, 4)),
        ("%a = f32[] all-reduce(x), replica_groups=mesh['a'=4,'b'=1,'c'=2] {'a','c'}, to_apply=%add", (4, 8)),
        ("%a = f32[] all-reduce(x), replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", (4, 4)),
        ("%a = f32[16]{0} all-reduce-start(x), to_apply=%add", (64, 8)),
    ],
)
def test_forms_of_text(line, expected):
    (found,) = find_collectives(line, 8)
    assert (found.size, found.group) == expected
    assert count_by_kind([found])["all-reduce"] == 1
