"""Time of a training step of Penn Treebank's models at size tuned, measured in turn.

    python -m benchmarks.step_time --output=results/step_time.json

Batches of 16 random sequences of 128 symbols; the flows with a factorised posterior. A ratio is of
medians, to the LSTM's.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Program, command_of, compile_program, time_in_turn
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.cli.options import get_config
from nlf_jax.files import write_atomically
from nlf_jax.models import SequenceModel, create_network
from nlf_jax.training.evaluate import num_parameters
from nlf_jax.training.state import Updates, create_state, make_train_step

STEPS, NUM_SYMBOLS, LONGEST = 128, 51, 288
FACTORISED = {"recurrence": "gated", "posterior": "factorised"}
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lstm", {}),
    ("gated", {}),
    ("af_codebook", {"recurrence": "lstm"}),
    ("af_codebook", {"recurrence": "gated"}),
    *((model, FACTORISED) for model in ("af_af", "af_scf", "iaf_scf")),
)
REPEATS = 7


def _program(model: str, changes: dict[str, Any]) -> tuple[Program, int]:
    """The training step of a fresh model, and its parameters."""
    config = get_config("ptb_char", model, "tuned", **changes)
    network = create_network(
        config.network, num_symbols=NUM_SYMBOLS, max_length=LONGEST, key=jax.random.key(0)
    )
    prior = jnp.full(LONGEST + 1, -np.log(LONGEST + 1.0), jnp.float32)
    untrained = SequenceModel(network=network, length_log_prob=prior)
    updates = Updates(**{name: getattr(config, name) for name in Updates._fields})
    shape = (config.batch_size, STEPS)
    x = jnp.asarray(np.random.default_rng(0).integers(2, NUM_SYMBOLS, shape, dtype=np.int32))
    lengths = jnp.full(config.batch_size, STEPS, jnp.int32)
    start = create_state(untrained, updates, jax.random.key(1))
    arguments = (start, x, lengths, jnp.float32(1e-4), jnp.float32(1.0))
    step = make_train_step(updates, 1)
    program = Program(step, arguments, lambda result, old: (result[0], *old[1:]))
    return program, num_parameters(untrained)


def main() -> None:
    """Prints the table, and writes it where the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_time")
    parser.add_argument("--output")
    output = parser.parse_args().output
    programs = {(m, c.get("recurrence", m)): _program(m, c) for m, c in CASES}
    calls = {name: compile_program(program).call for name, (program, _) in programs.items()}
    times = time_in_turn(calls, quick=False, at_least=REPEATS)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = [
        {
            "model": name[0], "recurrence": name[1], "parameters": programs[name][1],
            "ratio_to_lstm": round(median / medians["lstm", "lstm"], 3),
            "seconds": [round(value, 4) for value in times[name]],
        }
        for name, median in medians.items()
    ]  # fmt: skip
    for row in rows:
        print(f"{row['model']:<12}{row['recurrence']:<7}{row['ratio_to_lstm']:>7.2f}")
    if output:
        command = command_of("step_time")
        report = {"command": command, "cores": os.cpu_count(), "rows": rows}
        write_atomically(Path(output), json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
