"""How the benchmark times programs, and the machine's own rates beside them."""

import functools
import shlex
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.speed_operations import product_bytes, product_flops
from nlf_jax.report.sequential_steps import longest_chain

Call = Callable[[], Any]
SECONDS_PER_CELL = 4.0
# A call that is shorter is timed the second time in a row: whatever ran before it left other data
# in the caches and, maybe, threads that wait busily.
SHORT = 0.1


def command_of(module: str, argv: Sequence[str] | None = None) -> str:
    """The command line that runs a benchmark, to be kept with what it measured.

    Args:
        argv: its arguments, where they are not those of this process.
    """
    words = sys.argv[1:] if argv is None else argv
    return shlex.join(["python", "-m", f"benchmarks.{module}", *words])


def same_again(_result: Any, arguments: tuple) -> tuple:
    """The arguments of the next call are those of the last one."""
    return arguments


class Program(NamedTuple):
    """A function to compile, its first arguments, and how a result becomes the next ones.

    ``rivals``: other implementations to measure beside it, or why one cannot be.
    """

    function: Any
    arguments: tuple
    following: Callable[[Any, tuple], tuple] = same_again
    rivals: Mapping[str, Call | str] = types.MappingProxyType({})


class Compiled(NamedTuple):
    """A compiled program, called without arguments, and what is known before it runs.

    Attributes:
        seconds: that tracing and compiling took.
        peak: bytes of arguments, results and temporary buffers.
        flops: operations, see speed_operations.
        read: bytes of weights, see speed_operations.
        sequential: rounds of loops that wait for each other, see ``sequential_steps``.
    """

    call: Call
    seconds: float
    peak: int
    flops: int
    read: int
    sequential: int


class Reference(NamedTuple):
    """Something simple that the machine does, and how many operations or bytes that is."""

    call: Call
    amount: int


def make_references(matmul_size: int = 2048, read_bytes: int = 2**28) -> dict[str, Reference]:
    """The machine's own rates: a square product, and a matrix-vector product that reads."""
    square, columns = jnp.ones((matmul_size, matmul_size)), 4096
    matrix = jnp.ones((read_bytes // 4 // columns, columns))
    product = jax.jit(jnp.matmul)
    return {
        "matmul": Reference(functools.partial(product, square, square), 2 * matmul_size**3),
        "read": Reference(functools.partial(product, matrix, matrix[0]), read_bytes),
    }


def compile_program(program: Program) -> Compiled:
    """Compiles; each call goes on from the one before."""
    start = time.perf_counter()
    traced = program.function.trace(*program.arguments)
    compiled = traced.lower().compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes
    peak = size + memory.temp_size_in_bytes - memory.alias_size_in_bytes
    jaxpr = traced.jaxpr.jaxpr
    call = _calls_in_a_row(compiled, program)
    counts = (product_flops(jaxpr), product_bytes(jaxpr), longest_chain(jaxpr))
    return Compiled(call, seconds, peak, *counts)


def _calls_in_a_row(compiled: Any, program: Program) -> Call:
    arguments = program.arguments

    def call():
        nonlocal arguments
        result = compiled(*arguments)
        arguments = program.following(result, arguments)
        return result

    return call


def seconds_of(call: Call) -> float:
    """Wall time of one call, its results waited for."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def repeats_for(seconds: float, quick: bool, at_least: int = 3) -> int:
    """Repeats of so many seconds that fit into the time for a cell: 3 to 30, or 1."""
    return 1 if quick else int(min(30, max(at_least, SECONDS_PER_CELL / seconds)))


def time_in_turn(
    calls: Mapping[Any, Call], quick: bool, at_least: int = 3
) -> dict[Any, list[float]]:
    """Seconds of every repeat of each call; all take turns, so that they compare."""
    last = {name: seconds_of(call) for name, call in calls.items()}
    times: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(repeats_for(sum(last.values()), quick, at_least)):
        for name, call in calls.items():
            if last[name] < SHORT:
                seconds_of(call)
            last[name] = seconds_of(call)
            times[name].append(last[name])
    return times
