"""Trains every flow model for some thousand steps and counts what went wrong: nothing should.

    python -m benchmarks.stability --data=jsb_chorales --steps=2000

Size small; options as in training. Appends a JSON line for each run to --output and leaves out runs
that are in it already, so that a stopped command goes on where it was. The shorter runs of several
seeds have --steps=400 --seeds=0,1,2,3,4 --config.kl_zero_epochs=2 --config.kl_ramp_epochs=4. More
flags, for instance --config.recurrence=gated, are handed on to training.
"""

import argparse
import itertools
import json
import math
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlf_jax.cli import commands
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.cli.experiments import POLYPHONIC, PTB_CHAR
from nlf_jax.cli.flags import parse, training_config
from nlf_jax.data.corpus import Corpus
from nlf_jax.files import read_rows
from nlf_jax.models import FLOW_MODELS, LATENT_MODELS
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.loop import Trainer
from nlf_jax.training.metrics import FILE_NAME

EXPERIMENTS = {
    "ptb_char": PTB_CHAR,
    "jsb_chorales": POLYPHONIC,
}


def run_config(data: str, flags: Sequence[str]) -> tuple[TrainConfig, Corpus]:
    """The config of a training run, and its data."""
    experiment = EXPERIMENTS[data]
    if "dataset" in experiment.flags:
        flags = [f"--dataset={data}", *flags]
    line = parse(flags, experiment.flags, experiment.model)
    config = training_config(experiment.name, line)
    return config, experiment.load_corpus(line.values, config.max_length)


def train(config: TrainConfig, corpus: Corpus, steps: int) -> list[dict[str, Any]]:
    """The training rows of metrics.jsonl of a run that is stopped after some steps."""
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(config, corpus, Path(directory))
        trainer.run(lambda: trainer.step >= steps)
        rows = read_rows(Path(directory) / FILE_NAME)
    return [row for row in rows if row["split"] == "train"]


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a run's rows say: how far it came, what was skipped or not finite, losses, norms."""
    losses = [math.nan if row["loss"] is None else row["loss"] for row in rows]
    return {
        "steps": rows[-1]["step"],
        "skipped": sum(row["skipped"] for row in rows),
        "rows_not_finite": sum(not math.isfinite(loss) for loss in losses),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "last_kl": rows[-1]["kl"],
        "largest_mean_grad_norm": max(row["grad_norm"] for row in rows),
    }


def runs(models: list[str], transforms: list[str], seeds: list[str]) -> list[tuple[str, ...]]:
    """The flags of every run; a model without scalar transforms is run once for all of them."""
    found = {}
    for model, transform, seed in itertools.product(models, transforms, seeds):
        chosen = [f"--config.transform={transform}"] if model in FLOW_MODELS else []
        found[(f"--model={model}", *chosen, f"--config.seed={seed}")] = None
    return list(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code is 1 if a run had a step that was not finite."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", choices=EXPERIMENTS, required=True)
    parser.add_argument("--models", default=",".join(LATENT_MODELS))
    parser.add_argument("--transforms", default="nlsq,affine")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path("stability.jsonl"))
    args, overrides = parser.parse_known_args(argv)
    commands.use_compilation_cache()
    failures = 0
    for flags in runs(args.models.split(","), args.transforms.split(","), args.seeds.split(",")):
        result = _run_once(args, [*flags, *overrides])
        failures += bool(result["skipped"] or result["rows_not_finite"])
        print(json.dumps(result), flush=True)
    return int(failures > 0)


def _run_once(args: argparse.Namespace, flags: list[str]) -> dict[str, Any]:
    """The result of a run, from the output file if it is there."""
    key = {"data": args.data, "asked_steps": args.steps, "flags": shlex.join(flags)}
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    for known in map(json.loads, lines):
        if key.items() <= known.items():
            return known
    config, corpus = run_config(args.data, flags)
    result = key | {"batch_size": config.batch_size, "hidden": config.hidden}
    result |= summarise(train(config, corpus, args.steps))
    with args.output.open("a") as file:
        file.write(json.dumps(result) + "\n")
    return result


if __name__ == "__main__":
    sys.exit(exit_code(main))
