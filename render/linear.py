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
    # Added zeros change nothing, but under `shard_map` all then differs between devices, as it must together.
    zero = 0 * (jax.tree.leaves(result)[0].reshape(-1)[0] > 0)
    residuals, vector = jax.tree.map(
        lambda part: part | (zero > 0) if part.dtype == bool else part + zero.astype(part.dtype), (residuals, vector)
    )
    # The solution of x = vector, y - apply(x) = 0: the only linear operation whose transpose jax lets us give. All of
    # its right-hand side must be linear in what is differentiated, those parts of the vector too that are not: by a
    # zero that is.
    first = sum(jnp.sum(part.reshape(-1)[:1]) for part in jax.tree.leaves(vector))
    nothing = jnp.where(jnp.zeros((), bool), first, 0.0)
    vector = jax.tree.map(lambda part: part + nothing.astype(part.dtype), vector)
    zeros = jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype) + nothing.astype(part.dtype), result)

    def solve(_, right):
        x, y = right
        return x, jax.tree.map(jnp.add, apply(residuals, x), y)

    def solve_transposed(_, right):
        x, y = right
        return jax.tree.map(jnp.add, x, transpose(residuals, y)), y

    return jax.lax.custom_linear_solve(lambda x: x, (vector, zeros), solve, solve_transposed)[1]


@jax.custom_jvp
def without_second_derivatives(tree: Tree) -> Tree:
    """The same; an error where a derivative of it is asked for."""
    return tree


@without_second_derivatives.defjvp
def _refuse(primals, tangents):
    raise NotImplementedError(
        "soft borders have no second derivatives (jax.hessian, or the gradient of a gradient): take first ones, with"
        " jax.jacfwd or jax.jacrev, and J^T J for a Gauss-Newton step"
    )
