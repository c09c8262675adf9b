"""Lowers every program of every model for TPU and CUDA, on any machine, and inspects the result.

    python -m benchmarks.lowering [--size=paper] [--models=lstm,af_scf] [--products=bfloat16]

``jax.export`` makes the StableHLO module that the accelerator's compiler is given, without having
one. The check reads its text: no float64, nothing that calls back to the host or a library of one
platform, static shapes, and HIGHEST precision on every float32 product; only if bfloat16 products
are asked for may the factors of some be rounded to that. Where a flow draws in parallel, no loop
may go over the steps. It prints a table; the exit code is 1 if a module has a problem.
"""

import argparse
import dataclasses
import re
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nlf_jax.cli import options
from nlf_jax.data.music.piano_roll import NUM_SYMBOLS
from nlf_jax.models import ModelConfig, SequenceModel, create_network
from nlf_jax.models.config import MODELS, PRODUCTS
from nlf_jax.objectives import importance_weighted_nll
from nlf_jax.sampling import sample
from nlf_jax.training.checkpoint_reading import first_line
from nlf_jax.training.recipes import SIZES
from nlf_jax.training.state import Updates, create_state, make_train_step

PLATFORMS = ("tpu", "cuda")
NUM_ROWS, NUM_LETTERS, GRAD_CLIP = 4, 51, 1.0
_PRODUCT = re.compile(r"stablehlo\.(?:dot_general|dot|convolution)\b.*")
_FUNCTION = re.compile(r"\bfunc\.func\b")
_CONDITION = re.compile(r"stablehlo\.while\b[^{]*cond \{(.*?)\} do \{", re.DOTALL)
_LESS_THAN = re.compile(r"stablehlo\.compare\s+LT, %\w+, (%\w+), SIGNED")
_BROADCAST = re.compile(r"(%\w+) = stablehlo\.broadcast_in_dim (%\w+), dims = \[\]")
_NUMBER = re.compile(r"(%\w+) = stablehlo\.constant dense<(\d+)> : tensor<i32>")
_FORBIDDEN = {
    "float64": re.compile(r"[<x ]f64\b"),
    "host transfer": re.compile(r"stablehlo\.(?:send|recv|infeed|outfeed)\b"),
    "custom call": re.compile(r"stablehlo\.custom_call @([\w.$-]+)"),
    "dynamic shape": re.compile(r"tensor<[^>]*\?[^>]*>"),
}


class Program(NamedTuple):
    """A jitted function and the shapes that it is lowered for.

    Attributes:
        parallel_over: a number of rounds that no loop may have, the number of steps; 0: any may.
    """

    name: str
    function: Any
    arguments: tuple[Any, ...]
    parallel_over: int = 0


class Report(NamedTuple):
    """What was found in a module.

    Attributes:
        products: number of matrix products.
        loops: the most rounds of every while loop; 0 where these are not a constant.
        size: characters of its text.
        problems: what is wrong, in words; empty if nothing is.
    """

    products: int
    loops: list[int]
    size: int
    problems: list[str]


_FRAMES = {"emission": "bernoulli", "mixtures": 2, "frame_units": 16}
_FACTORISED = {"posterior": "factorised"}
# Symbols, keys, keys of a frame that depend on each other; then what else a network is made of.
VARIANTS = {
    "categorical": {"emission": "categorical"},
    "bernoulli": {"emission": "bernoulli"},
    "frames": _FRAMES,
    "factorised": _FACTORISED,
    "factorised frames": _FACTORISED | _FRAMES,
    "gated": {"recurrence": "gated"},
    "gated factorised": {"recurrence": "gated"} | _FACTORISED,
    "mixture": {"transform": "mixture"},
}
# The likelihood is the same code in every flow model: one of them with all of it is enough.
VARIANTS_OF = {
    "af_scf": tuple(VARIANTS),
    "iaf_scf": ("categorical", "gated", "gated factorised", "mixture"),
    "af_codebook": ("categorical", "frames", "gated"),
    "gated": ("categorical", "frames"),
}


def inspect(module: str, allowed: str = "float32") -> Report:
    """Inspects the text of a StableHLO module; ``allowed``: see ``ModelConfig.products``."""
    products = _PRODUCT.findall(module)
    problems = []
    for name, pattern in _FORBIDDEN.items():
        found = pattern.findall(module)
        if found:
            problems.append(f"{len(found)} x {name}, for instance {found[0].strip()}")
    imprecise = [line for line in products if "f32" in line and _is_imprecise(line, allowed)]
    if imprecise:
        problems.append(f"{len(imprecise)} x product without HIGHEST, for instance {imprecise[0]}")
    return Report(len(products), loops(module), len(module), problems)


def loops(module: str) -> list[int]:
    """The most rounds that each while loop of a module can have; 0 where no constant says it."""
    rounds = []
    for function in _FUNCTION.split(module):
        numbers = dict(_NUMBER.findall(function))
        rounds += [_most_rounds(text, numbers) for text in _CONDITION.findall(function)]
    return rounds


def _most_rounds(condition: str, numbers: dict[str, str]) -> int:
    # Under `vmap` the counter is an array, and its limit is broadcast.
    source = dict(_BROADCAST.findall(condition))
    limits = [source.get(name, name) for name in _LESS_THAN.findall(condition)]
    return max((int(numbers.get(name, 0)) for name in limits), default=0)


def _is_imprecise(product: str, allowed: str) -> bool:
    # Factors that are rounded to bfloat16 before are exact without a precision.
    rounded_before = allowed == "bfloat16" and "precision" not in product
    return "[HIGHEST, HIGHEST]" not in product and not rounded_before


def lower(program: Program, platform: str) -> str:
    """The text of a program's StableHLO module for a platform that need not be there.

    Raises:
        ValueError: it cannot be lowered, for instance because it calls back to the host.
    """
    exported = jax.export.export(program.function, platforms=[platform])(*program.arguments)
    return exported.mlir_module()


def check(program: Program, platform: str, products: str = "float32") -> Report:
    """Lowers and inspects; a program that cannot be lowered has that as its problem."""
    try:
        report = inspect(lower(program, platform), products)
    except (ValueError, NotImplementedError) as error:
        return Report(0, [], 0, [f"cannot be lowered: {first_line(error)}"])
    if program.parallel_over and not {0, program.parallel_over}.isdisjoint(report.loops):
        report.problems.append(f"a loop over {program.parallel_over} steps")
    return report


def programs(config: ModelConfig, max_length: int) -> Iterator[Program]:
    """The training step, the score and the sampler of a model, for abstract arguments."""
    text = config.is_text
    num_symbols = NUM_LETTERS if text else NUM_SYMBOLS
    state = jax.eval_shape(partial(_make_state, config, num_symbols, max_length))
    x = (
        jax.ShapeDtypeStruct((NUM_ROWS, max_length), jnp.int32)
        if text
        else jax.ShapeDtypeStruct((NUM_ROWS, max_length, num_symbols), jnp.bool_)
    )
    lengths = jax.ShapeDtypeStruct((NUM_ROWS,), jnp.int32)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    step = make_train_step(Updates("adam", GRAD_CLIP), num_samples=2)
    yield Program("train step", step, (state, x, lengths, number, number))
    nll = jax.jit(partial(importance_weighted_nll, num_samples=2))
    yield Program("nll", nll, (state.model, x, lengths, state.key))
    draw = jax.jit(partial(sample, num_samples=2))
    parallel = config.model.startswith("iaf") and config.recurrence == "gated"
    yield Program("sample", draw, (state.model, state.key), max_length if parallel else 0)


def main() -> int:
    """Checks what the command line asks for; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--models", default=",".join(MODELS), help="with commas between")
    parser.add_argument("--products", choices=PRODUCTS, default="float32")
    arguments = parser.parse_args()
    print(f"{'model':<12}{'of':<19}{'program':<11}{'for':<6}{'products':>8}", end="")
    print(f"{'loops':>7}{'KB':>7}{'seconds':>9}  problems", flush=True)
    failed = 0
    for model in arguments.models.split(","):
        for variant in VARIANTS_OF.get(model, ("categorical",)):
            failed += _check(model, variant, arguments.size, arguments.products)
    print(f"{failed} modules with problems" if failed else "no problems")
    return int(failed > 0)


def _check(model: str, variant: str, size: str, products: str) -> int:
    """Prints the rows of a model; gives the number of its modules with problems."""
    changes: dict[str, Any] = VARIANTS[variant]
    config = options.get_config("ptb_char", model, size, **changes)
    config = dataclasses.replace(config, products=products)
    failed = 0
    for program in programs(config.network, config.max_length):
        for platform in PLATFORMS:
            start = time.monotonic()
            report = check(program, platform, products)
            failed += bool(report.problems)
            print(
                f"{model:<12}{variant:<19}{program.name:<11}{platform:<6}{report.products:>8}"
                f"{len(report.loops):>7}{report.size // 1000:>7}{time.monotonic() - start:>9.1f}  "
                f"{'; '.join(report.problems) or 'none'}",
                flush=True,
            )
    return failed


def _make_state(config: ModelConfig, num_symbols: int, max_length: int):
    sizes = {"num_symbols": num_symbols, "max_length": max_length, "key": jax.random.key(0)}
    model = SequenceModel(create_network(config, **sizes), jnp.zeros(max_length + 1))
    return create_state(model, Updates("adam", GRAD_CLIP), jax.random.key(0))


if __name__ == "__main__":
    sys.exit(main())
