"""How many operations a program carries out, and how many bytes of weights it reads.

Counted are the matrix products in the program itself, each as often as it runs: a multiplication
and an addition are two operations, a masked matrix counts in full. What a program saves does not
count, so that the rate is one that the machine reaches: no look-up of an embedding, of what it
adds to the gates or of a position, and for two weights in a row only the order that is taken. The
gradient of a look-up is a product with one-hots that is carried out, and counts. A product that is
the same at every step of a loop counts every time, though the compiler does it once; of ours only
the bias of the baseline's output is one, 3% of what a small one multiplies to generate.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core


def matrix_products(jaxpr: core.Jaxpr, times: int = 1) -> Iterator[tuple[int, Any]]:
    """How often each product runs, and the product; those in loops and functions within too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield times, equation
        length = equation.params["length"] if equation.primitive.name == "scan" else 1
        for part in core.jaxprs_in_params(equation.params):
            yield from matrix_products(part, times * length)


def product_flops(jaxpr: core.Jaxpr) -> int:
    """Operations of all matrix products."""
    return sum(times * _flops(product) for times, product in matrix_products(jaxpr))


def product_bytes(jaxpr: core.Jaxpr) -> int:
    """Bytes of every product's larger factor: when one sequence is generated, of the weights."""
    return sum(
        times * max(factor.aval.size * factor.aval.dtype.itemsize for factor in product.invars)
        for times, product in matrix_products(jaxpr)
    )


def _flops(product: Any) -> int:
    (contracted, _), _ = product.params["dimension_numbers"]
    depth = math.prod(product.invars[0].aval.shape[axis] for axis in contracted)
    return 2 * depth * product.outvars[0].aval.size
