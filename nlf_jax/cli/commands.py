"""Runs an experiment: from the command line to training, scoring and sampling."""

import contextlib
import io
import json
import logging
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging as absl_logging
from jax.sharding import Mesh

from nlf_jax.cli.drawing import (
    draw_continuations,
    draw_interpolation,
    draw_reconstructions,
    draw_samples,
)
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.cli.export import export_model
from nlf_jax.cli.flags import (
    CommandLine,
    help_text,
    parse,
    require_suited,
    scoring_config,
    training_config,
)
from nlf_jax.cli.reporting import write_report
from nlf_jax.cli.run import (
    Experiment,
    Run,
    require_same_data,
)
from nlf_jax.cli.scoring import show_scores
from nlf_jax.data.corpus import Corpus
from nlf_jax.errors import UserError
from nlf_jax.files import cache_directory, write_atomically
from nlf_jax.models import LANGUAGE_MODELS, SequenceModel
from nlf_jax.training import evaluate, hosts, workdir
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.interrupts import StopSignal
from nlf_jax.training.key_streams import Stream, stream_key
from nlf_jax.training.loop import Trainer
from nlf_jax.training.units import BITS, Unit, unit_of


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> int:
    """Runs the command line; a user's mistake is one line on stderr.

    Args:
        experiment: what to run.
        argv: the arguments after the program's name; sys.argv's if None.

    Returns:
        The exit code: 0; 2 after a ``UserError``; 130 after Ctrl-C outside of training.
    """
    _format_warnings()
    absl_logging.set_verbosity(absl_logging.FATAL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # So that a text or a name that the terminal cannot show does not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if argv is None else argv
    return exit_code(lambda: _run(experiment, parse(arguments, experiment.flags, experiment.model)))


def use_compilation_cache() -> None:
    """Keeps compiled programs in NLF_CACHE_DIR/xla, by default ~/.cache/nlf_jax/xla."""
    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "xla"))
    # The many small programs that initialise a model too.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _run(experiment: Experiment, line: CommandLine) -> None:
    values = line.values
    if values["help"]:
        print(help_text(experiment.name, experiment.description, experiment.flags, line))
        return
    require_suited(line, ("eval", "sample") if experiment.after_training else ())
    run = Run(experiment, line)
    workdir.check_workdir(run.workdir)
    use_compilation_cache()
    hosts.connect(values["coordinator"], values["num_processes"], values["process_id"])
    hosts.require_same(_shared_flags(experiment, line), "the processes were given other flags.")
    with open(os.devnull, "w") as nowhere:
        shown = sys.stdout if hosts.is_primary() else nowhere
        with contextlib.redirect_stdout(shown):
            MODE_FUNCTIONS[values["mode"]](run)
    hosts.meet()


def _shared_flags(experiment: Experiment, line: CommandLine) -> list[Any]:
    """What must be the same in all processes; files may be elsewhere on each host."""
    own = {"process_id", "workdir", "data_dir", "midi_file", *experiment.flags}
    shared = {name: value for name, value in line.values.items() if name not in own}
    return [experiment.name, shared, line.overrides]


def _format_warnings() -> None:
    """Logged lines are ``WARNING: text``, also where an import has set logging up (Orbax)."""
    logging.basicConfig()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))


def train(run: Run) -> None:
    """``--mode=train``: trains, or goes on, until the end or a signal."""
    if run.model_file is not None:
        raise UserError(f"{run.model_source} is no workdir: nothing can be trained in it.")
    found = run.find()
    run = run if found is None else run.remembering(found)
    config = training_config(run.experiment.name, run.line)
    print(f"Reading the data of {run.experiment.name} ...", flush=True)
    corpus = run.load_corpus(config)
    name, flags = run.experiment.name, {"frame": run.frame, "source": run.source}
    description = workdir.describe(name, config, corpus, **flags)
    with StopSignal() as stop, workdir.held(run.workdir, description, corpus.vocabulary_json):
        trainer = Trainer(config, corpus, run.workdir, run.mesh)
        _announce(run, config, corpus, trainer)
        if not trainer.run(lambda: bool(stop)):
            cause = stop.name or "Another process was told to stop"
            print(f"{cause}: saved after step {trainer.step}. Go on with the same command.")
            return
    print(f"Trained {trainer.step} steps. Everything is in {run.workdir}")
    if run.experiment.after_training is not None:
        run.experiment.after_training(run, corpus)
    print(f"Score it:   {run.command('eval')}\nSample it:  {run.command('sample')}")


def evaluate_split(run: Run, corpus: Corpus | None = None) -> dict[str, Any]:
    """``--mode=eval``: scores a split, prints the scores and writes eval_<split>.json.

    Of a part of it, N sequences, the file is eval_<split>-<N>.json: it takes no whole one's place.

    Args:
        run: the run; its workdir has a trained model.
        corpus: the data, if loaded before.

    Returns:
        What was written.

    Raises:
        UserError: no model, or the data are not those that it was trained on.
    """
    description, model, step = run.load_trained()
    config, values = scoring_config(description, run.line), run.line.values
    corpus = corpus or run.load_corpus(config, description)
    require_same_data(run.model_source, description, corpus)
    split = values["split"]
    rows = evaluate.subset(corpus.splits[split], values["max_sequences"], config.seed)
    print(f"Scoring {len(rows):,} sequences; the first of each length compile ...", flush=True)
    scores = _score(model, rows, config, corpus.max_length, run.mesh)
    result = {
        "experiment": run.experiment.name,
        "model": config.model,
        "parameters": evaluate.num_parameters(model),
        "steps": step,
        "weights": evaluate.weights_digest(model),
        "data": corpus.name,
        "data_fingerprint": corpus.fingerprint,
        "split": split,
        "sequences": len(rows),
        "symbols": int((scores.lengths + 1).sum()),
        "elbo_samples": _num_samples(config, config.elbo_samples),
        "nll_samples": _num_samples(config, config.nll_samples),
        "seed": config.seed,
        "convention": evaluate.CONVENTION,
        "scores": scores.summary(),
        "command": shlex.join(["nlf", "eval", run.model_source, *_other_flags(run.line.argv)]),
    }
    print(_score_table(result, unit_of(config)))
    part = "" if len(rows) == len(corpus.splits[split]) else f"-{len(rows)}"
    _write_scores(run.workdir / f"eval_{split}{part}.json", result)
    return result


def _announce(run: Run, config: TrainConfig, corpus: Corpus, trainer: Trainer) -> None:
    sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in corpus.splits.items())
    going_on = trainer.step > 0 and not trainer.is_over
    done = f", going on after step {trainer.step:,}" if going_on else ""
    left = "The first steps compile and are slow; Ctrl-C saves and stops."
    if trainer.is_over:
        left = "The run is complete; a larger --config.num_epochs would go on with it."
    print(
        f"{corpus.name}: {sizes} sequences. {config.model}: {trainer.num_parameters:,} parameters, "
        f"{trainer.num_steps:,} steps{done}.\n"
        f"Workdir {run.workdir}. {left}",
        flush=True,
    )


def _score(
    model: SequenceModel, rows: Sequence[Any], config: TrainConfig, longest: int, mesh: Mesh
) -> evaluate.Scores:
    return evaluate.score(
        model,
        rows,
        stream_key(config.seed, Stream.EVALUATION),
        batch_size=config.eval_batch_size,
        buckets=config.bucket_lengths(longest),
        elbo_samples=_num_samples(config, config.elbo_samples),
        nll_samples=_num_samples(config, config.nll_samples),
        mesh=mesh,
    )


def _num_samples(config: TrainConfig, num_samples: int) -> int:
    """The baseline has no latent: its score is exact with one sample."""
    return 1 if config.model in LANGUAGE_MODELS else num_samples


def _other_flags(argv: Sequence[str]) -> list[str]:
    """The arguments that ``nlf eval WORKDIR`` doesn't say already."""
    return [each for each in argv if not each.lstrip("-").startswith(("mode=", "workdir="))]


def _score_table(result: dict[str, Any], unit: Unit) -> str:
    scores = result["scores"]
    lines = [
        f"{result['split']}: {result['sequences']:,} sequences, {result['symbols']:,} symbols, "
        f"{result['nll_samples']} importance samples; {result['model']} after "
        f"{result['steps']:,} steps",
        f"{unit.per:<16}{unit.name:>8}  (standard error)",
    ]
    for name in ("nll", "elbo", "reconstruction", "kl", "length", "nll_no_length"):
        value, error = scores[f"{name}_{unit.name}"], scores[f"{name}_bits_standard_error"]
        error *= unit.per_nat / BITS.per_nat
        lines.append(f"{name:<16}{value:>8.4f}  ({error:.4f})")
    if impossible := scores.get("impossible"):
        lines.append(
            f"{impossible:,} sequences have a length that training never saw, which costs "
            "infinitely much: see nll_no_length, or train with --config.length_smoothing."
        )
    return "\n".join(lines)


@hosts.primary_only
def _write_scores(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(_finite(result), indent=2) + "\n")
    print(f"Written to {path}")


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


MODE_FUNCTIONS = {
    "train": train,
    "eval": evaluate_split,
    "sample": draw_samples,
    "reconstruct": draw_reconstructions,
    "interpolate": draw_interpolation,
    "continue": draw_continuations,
    "score": show_scores,
    "export": export_model,
    "report": write_report,
}
