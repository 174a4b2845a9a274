"""Linear functions whose transposes are written by hand, for derivatives of both modes.

A rule for forward mode alone (`jax.custom_jvp`) is transposed by jax for reverse mode, which it cannot do to a walk
over as many pairs as there are at run time; a rule for reverse mode alone (`jax.custom_vjp`) has no forward mode.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from render.arrays import Tree


def linear_map(apply: Callable, transpose: Callable, residuals: Tree, vector: Tree, result: Tree) -> Tree:
    """`apply(residuals, vector)`, linear in the vector; its transpose is `transpose(residuals, cotangent)`.

    Args:
        apply: residuals and vector to a result.
        transpose: residuals and a cotangent of the result to one of the vector.
        residuals: what both need to know, made of what has been `without_second_derivatives`.
        vector: floats.
        result: arrays like the result; their values are not looked at.

    Returns:
        The result.
    """
    residuals, vector, result = _alike((residuals, vector, result))
    # The solution of x = vector, y - apply(x) = 0: the only linear operation whose transpose jax lets us give. All of
    # its right-hand side must be linear in what is differentiated, those parts of the vector too that are not: by a
    # zero that is.
    first = sum(jnp.sum(part.reshape(-1)[:1]) for part in jax.tree.leaves(vector))
    nothing = jnp.where(jnp.zeros((), bool), first, 0.0)
    vector = jax.tree.map(lambda part: part + nothing.astype(part.dtype), vector)
    # Spread from one number, for an array of zeros would be kept for the backward pass.
    zeros = jax.tree.map(lambda part: jnp.broadcast_to(nothing.astype(part.dtype), part.shape), result)

    def solve(_, right):
        x, y = right
        return x, jax.tree.map(jnp.add, apply(residuals, x), y)

    def solve_transposed(_, right):
        x, y = right
        return jax.tree.map(jnp.add, x, transpose(residuals, y)), y

    return jax.lax.custom_linear_solve(lambda x: x, (vector, zeros), solve, solve_transposed)[1]


def _alike(tree: Tree) -> Tree:
    """All arrays as ones that differ between the devices of a `shard_map`, where some do, as they must together."""
    axes = frozenset().union(*map(_varying, jax.tree.leaves(tree)))

    def vary(leaf):
        missing = tuple(sorted(axes - _varying(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def _varying(leaf: jax.Array) -> frozenset:
    """The axes of devices along which an array differs."""
    return jax.typeof(leaf).manual_axis_type.varying


def without_second_derivatives(tree: Tree) -> Tree:
    """The same; an error where a derivative of any part of it is asked for.

    One number of each part is watched, and the smallest part waits for it: a copy of all would be kept for the backward
    pass beside what it is a copy of.
    """
    leaves, structure = jax.tree.flatten(tree)
    moving = [k for k, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    smallest = min(moving, key=lambda k: leaves[k].size)
    watched = _watched(sum(jnp.sum(leaves[k].reshape(-1)[:1]).astype(jnp.float32) for k in moving))
    leaf = leaves[smallest]
    leaves[smallest] = jnp.where(jnp.zeros((), bool), watched.astype(leaf.dtype), leaf)
    return jax.tree.unflatten(structure, leaves)


@jax.custom_jvp
def _watched(number: jax.Array) -> jax.Array:
    return number


@_watched.defjvp
def _refuse(primals, tangents):
    raise NotImplementedError(
        "soft borders have no second derivatives (jax.hessian, or the gradient of a gradient): take first ones, with"
        " jax.jacfwd or jax.jacrev, and J^T J for a Gauss-Newton step"
    )
