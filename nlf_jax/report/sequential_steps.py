"""The longest chain of loop rounds in a program that have to wait for each other.

No machine and no number of cores can run a program in fewer rounds one after the other. What is
not in a loop counts nothing: an ``associative_scan`` over T steps, for one, is some 2 log2(T)
array operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal


def sequential_steps(function: Callable, *arguments: Any) -> int:
    """Rounds of the longest chain; of a loop that ends when it has converged, the most it may take.

    Args:
        function: what ``jax.make_jaxpr`` takes.
        arguments: arrays or shapes of them.
    """
    return longest_chain(jax.make_jaxpr(function)(*arguments).jaxpr)


def longest_chain(jaxpr: Jaxpr) -> int:
    """As ``sequential_steps``, of a program that has been traced."""
    depths: dict[Any, int] = {}
    for equation in jaxpr.eqns:
        inputs = [depths.get(v, 0) for v in equation.invars if not isinstance(v, Literal)]
        depth = max(inputs, default=0) + _rounds(equation)
        depths |= dict.fromkeys(equation.outvars, depth)
    return max(depths.values(), default=0)


def _rounds(equation: JaxprEqn) -> int:
    parameters = equation.params
    if equation.primitive.name == "scan":
        return parameters["length"] * max(1, longest_chain(parameters["jaxpr"].jaxpr))
    if equation.primitive.name == "while":
        inside = max(longest_chain(parameters[part].jaxpr) for part in ("body_jaxpr", "cond_jaxpr"))
        return _limit(parameters["cond_jaxpr"].jaxpr) * max(1, inside)
    return max(map(longest_chain, _jaxprs(list(parameters.values()))), default=0)


def _limit(condition: Jaxpr) -> int:
    """The number that the counter of a loop is compared with; 1 if there is none."""
    compared = [e.invars[1] for e in condition.eqns if e.primitive.name == "lt"]
    return max((int(v.val) for v in compared if isinstance(v, Literal)), default=1)


def _jaxprs(values: Sequence[Any]) -> list[Jaxpr]:
    """Those among an equation's parameters, for instance of a call or the branches of a choice."""
    nested = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    nested = [v.jaxpr if isinstance(v, ClosedJaxpr) else v for v in nested]
    return [v for v in nested if isinstance(v, Jaxpr)]
