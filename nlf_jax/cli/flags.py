"""The command line: flags, ``--config.name=value``, ``--help``, and one-line errors."""

import dataclasses
import difflib
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from absl import flags

from nlf_jax.cli import options
from nlf_jax.errors import UserError, printable
from nlf_jax.models.config import MODELS
from nlf_jax.options import INTEGERS_BELOW, require_choice, restore
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.recipes import SIZES
from nlf_jax.training.workdir import Description

MODES = (
    "train", "eval", "sample", "reconstruct", "interpolate", "continue", "score", "export", "report"
)  # fmt: skip
SPLITS = ("train", "valid", "test")
# What eval and sample may override; everything else is the trained run's own.
SCORING_OPTIONS = ("nll_samples", "eval_batch_size", "seed")
DEFAULT_MODEL = "af_scf"
_CONFIG_PREFIX = "--config."
# Own flags of two experiments; score takes them with every model.
_TO_SCORE = {
    "text_file": "score: a text, one sequence a line; - is standard input.",
    "midi_dir": "score: a folder of MIDI files.",
}

_GIVEN = {"text", "unseen", "midi_file", "row", "split", "seed", "greedy"}
_DRAWN = {"seed", "num_samples", "length", "temperature", "greedy"}
# Which commands take which flags; all take those that are in none of these.
FLAGS_OF = {
    "train": set(),
    "eval": {"split", "max_sequences"},
    "sample": _DRAWN,
    "reconstruct": _GIVEN,
    "interpolate": _GIVEN | {"num_samples"},
    "continue": _GIVEN | _DRAWN | {"prefix", "num_proposals"},
    "score": {"text", "unseen", "midi_file", "seed", "cut", "json"},
    "export": {"output"},
    "report": {"text", "unseen", "split", "seed", "output", "figures"},
}


class Switch(NamedTuple):
    """An experiment's own flag that is on or off, and off unless it is given.

    Attributes:
        help: for ``--help``.
        older: whether it was on in runs that don't record it, as they are older than the flag.
    """

    help: str
    older: bool = False


Flags: TypeAlias = Mapping[str, str | Switch]


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        values: of the flags, by name.
        given: names of the flags that were given.
        overrides: (option, text) of every ``--config.option=text``, in order.
        argv: as it was given.
    """

    values: dict[str, Any]
    given: frozenset[str]
    overrides: tuple[tuple[str, str], ...]
    argv: tuple[str, ...]


def define(extra: Flags, model: str = DEFAULT_MODEL) -> flags.FlagValues:
    """The flags of an experiment, apart from absl's global ones.

    Args:
        extra: the experiment's own flags: texts, with their help, and switches.
        model: the one that is trained unless another is asked for.
    """
    values = flags.FlagValues()
    text = lambda *args: flags.DEFINE_string(*args, flag_values=values)  # noqa: E731
    number = lambda *args, **kw: flags.DEFINE_integer(  # noqa: E731
        *args, flag_values=values, **kw
    )
    text("mode", "train", "Which of the above; `nlf` sets it.")
    text("model", model, f"One of {', '.join(MODELS)}.")
    text(
        "size",
        "small",
        "tiny (a test), small (a CPU), paper (a GPU or TPU), tuned (best; music, ptb_char).",
    )
    text("workdir", None, "Folder of the run [runs/<experiment>/<model>-<size>].")
    text("data_dir", os.environ.get("NLF_DATA_DIR"), "Where data files are [NLF_DATA_DIR].")
    for name, each in {**_TO_SCORE, **extra}.items():
        if isinstance(each, Switch):
            flags.DEFINE_boolean(name, False, each.help, flag_values=values)
        else:
            text(name, None, each)
    _define_scoring(values, text, number)
    flags.DEFINE_boolean("help", False, "Show this text.", flag_values=values, short_name="h")
    return values


def _define_scoring(values: flags.FlagValues, text: Callable, number: Callable) -> None:
    """The flags of the modes that use a trained model."""
    text("split", "test", "eval, --row: train, valid or test.")
    number("mesh", None, "Devices that share each batch [all of them].")
    text("coordinator", None, "Several hosts: host:port of process 0, or auto; docs/devices.md.")
    number("num_processes", None, "Several hosts: how many processes, one on each.")
    number("process_id", None, "Several hosts: the number of this process, from 0.")
    number("max_sequences", None, "eval: score only so many sequences, chosen by the seed.")
    number("seed", None, "Decides what is drawn; train and eval take --config.seed [the run's].")
    number("num_samples", 5, "sample, continue: how many; interpolate: points, with both ends.")
    number("length", None, "sample, continue: symbols or frames of each [as in training].")
    typical = "sample, continue: below 1 what is drawn is more typical."
    flags.DEFINE_float("temperature", 1.0, typical, flag_values=values)
    greedy = "Take the likeliest; reconstruct, interpolate do unless --nogreedy."
    flags.DEFINE_boolean("greedy", False, greedy, flag_values=values)
    given = "A sequence for reconstruct, interpolate, continue or score; repeatable."
    flags.DEFINE_multi_string("text", None, given, flag_values=values)
    piece = "A piece for the same, from a file; repeatable."
    flags.DEFINE_multi_string("midi_file", None, piece, flag_values=values)
    unseen = "What takes the place of symbols in a given text that training never saw."
    text("unseen", None, unseen)
    row = "A sequence of the data by its number in --split [the first]; repeatable."
    flags.DEFINE_multi_integer("row", None, row, flag_values=values)
    number("prefix", None, "continue: how much to keep [all of a text or file, half of a row].")
    number("num_proposals", 32, "continue: proposals for each sample of a latent flow.")
    cut = "score: cut what is too long for the model, a text between words; else it is refused."
    flags.DEFINE_boolean("cut", False, cut, flag_values=values)
    as_json = "score: JSON lines, one for each sequence and a last one for all."
    flags.DEFINE_boolean("json", False, as_json, flag_values=values)
    output = "export: a file .safetensors; report: .html [model or report in the workdir]."
    text("output", None, output)
    text("figures", None, "report: a folder for its figures, as PNG and SVG.")


def parse(argv: Sequence[str], extra: Flags, model: str = DEFAULT_MODEL) -> CommandLine:
    """Parses the arguments after the program's name; for the others see ``define``.

    Raises:
        UserError: an unknown flag (naming near ones), a wrong value, or a word that is no flag.
    """
    rest, overrides = _split_overrides(argv)
    defined = define(extra, model)
    if "--mode=score" in rest:
        rest = [_standard_input(*pair, defined) for pair in pairwise(["", *rest])]
    try:
        # absl would take seconds to search for what is near an unknown name.
        strangers = defined(["program", *rest], known_only=True)[1:]
    except flags.IllegalFlagValueError as error:
        given = str(error).partition(": ")[0]
        raise UserError(
            f"{given} has a value of the wrong kind; --help shows what fits."
        ) from error
    except (flags.Error, ValueError) as error:  # the latter for --nogreedy=1
        raise UserError(" ".join(str(error).split())) from error
    if strangers:
        raise UserError(_no_flag(strangers[0], defined))
    line = CommandLine(
        values=_with_homes(defined.flag_values_dict()),
        given=frozenset(name for name in defined if defined[name].present),
        overrides=tuple(overrides),
        argv=tuple(argv),
    )
    _check(line.values)
    for name in sorted((_TO_SCORE.keys() - extra.keys()) & line.given):
        if line.values["mode"] != "score":
            raise UserError(f"--{name} is no flag of this data set: it is for score.")
    return line


def _standard_input(before: str, word: str, defined: flags.FlagValues) -> str:
    """``-`` alone is the standard input; after a flag that takes a value it is that value."""
    name = before.removeprefix("--")
    takes_value = name != before and name in defined and not defined[name].boolean
    return "--text_file=-" if word == "-" and not takes_value else word


def require_suited(line: CommandLine, more: Iterable[str] = ()) -> None:
    """Refuses flags that the command would not look at.

    Args:
        more: the commands that follow it.

    Raises:
        UserError: naming the flag and the commands that take it.
    """
    mode = line.values["mode"]
    taken = set().union(*(FLAGS_OF[name] for name in (mode, *more)))
    for flag in sorted(line.given & set().union(*FLAGS_OF.values()) - taken):
        right = ", ".join(name for name, known in FLAGS_OF.items() if flag in known)
        raise UserError(f"--{flag} is no flag of {mode}: it is for {right}. Leave it out.")


def _with_homes(values: dict[str, Any]) -> dict[str, Any]:
    """The values with ``~`` in paths made the home folder: the shell leaves it after an ``=``."""
    paths = [name for name in values if name == "workdir" or name.endswith(("_dir", "_file"))]
    expand = lambda x: os.path.expanduser(x) if isinstance(x, str) else x  # noqa: E731
    each = lambda x: list(map(expand, x)) if isinstance(x, list) else expand(x)  # noqa: E731
    return values | {name: each(values[name]) for name in paths}


def training_config(experiment: str, line: CommandLine) -> TrainConfig:
    """The config of a training run, overrides included."""
    model, size = line.values["model"], line.values["size"]
    overrides = _read_overrides(line)
    if "model" in overrides:
        raise UserError("choose the model by --model=..., not by --config.model.")
    return options.get_config(experiment, model, size, line.values.get("dataset"), **overrides)


def scoring_config(trained: Description, line: CommandLine) -> TrainConfig:
    """The config of a trained run, with the overrides that scoring and sampling take."""
    config = restore(TrainConfig, trained["config"], trained["format"])
    if "model" in line.given and line.values["model"] != config.model:
        raise UserError(f"--model={line.values['model']}, but the workdir has a {config.model}.")
    overrides = _read_overrides(line)
    for name, value in overrides.items():
        if name not in SCORING_OPTIONS and value != getattr(config, name):
            raise UserError(
                f"--config.{name} was fixed in training; eval and sample take "
                f"{', '.join(SCORING_OPTIONS)}."
            )
    with options.named_as_flags():
        return TrainConfig(**vars(config) | overrides)


def _read_overrides(line: CommandLine) -> dict[str, Any]:
    return {name: options.read_value(name, text) for name, text in line.overrides}


def help_text(name: str, description: str, extra: Flags, line: CommandLine) -> str:
    """What ``--help`` prints: use, flags, and the options with their values for this run."""
    config = training_config(name, line)
    defined = define(extra, line.values["model"])
    shown = ["mode", "model", "size", "workdir", "data_dir", *extra]
    shown += ["mesh", "coordinator", "num_processes", "process_id"]
    shown += ["split", "max_sequences", "seed", "num_samples", "length", "temperature", "greedy"]
    shown += ["text", "unseen", "midi_file", "row", "prefix", "num_proposals"]
    shown += [*sorted(_TO_SCORE.keys() - extra.keys()), "cut", "json", "output", "figures"]
    flag_lines = [
        _help_line(f"--{flag}", defined[flag].default, defined[flag].help.partition(";\n")[0])
        for flag in shown
    ]
    config_lines = [
        _help_line(name, getattr(config, name), each.help) for name, each in options.OPTIONS.items()
    ]
    size, model = line.values["size"], line.values["model"]
    return "\n".join(
        [
            description.strip(),
            "",
            f"Usage: nlf train {name} [flags], and then nlf sample|eval|.. WORKDIR [flags], or",
            f"       python -m experiments.{name} --mode=train|sample|eval|.. [flags]",
            "  train        trains, or goes on with the run in --workdir; Ctrl-C saves and stops",
            "  eval         scores a split of the data with the trained model",
            "  sample       draws from the trained model",
            "  reconstruct  encodes and decodes a sequence",
            "  interpolate  goes from one sequence to another in steps",
            "  continue     goes on with an opening",
            "  score        shows how probable given texts or pieces are, symbol by symbol",
            "  export       writes the best model into one file, which does for the workdir",
            "  report       shows what the model learned: one HTML file, for any browser",
            "--workdir may also be such a file, or pretrained:NAME for a model in the package;",
            "what is drawn or scored with these goes into a folder of their name, here.",
            "",
            "Flags, with their defaults (in brackets where they depend on others):",
            *flag_lines,
            "",
            f"Options, as --config.<name>=<value>, with their values for {model} at size {size}:",
            *config_lines,
        ]
    )


def _help_line(name: str, value: Any, text: str) -> str:
    if isinstance(value, tuple):
        value = ",".join(map(str, value)) or "none"
    start = f"  {name:<19} {'' if value is None else value!s:<11} "
    return textwrap.fill(text, 100, initial_indent=start, subsequent_indent=" " * len(start))


def _split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes ``--config.name=value`` and ``--config.name value`` out of the arguments."""
    rest, overrides = [], []
    arguments = iter(argv)
    for argument in arguments:
        if argument.lstrip("-").partition("=")[0] == "flagfile":
            raise UserError("flags in a file (--flagfile) are not supported; give them here.")
        if not argument.startswith(_CONFIG_PREFIX):
            rest.append(argument)
            continue
        name, equals, text = argument.removeprefix(_CONFIG_PREFIX).partition("=")
        text = text if equals else next(arguments, None)
        if text is None:
            raise UserError(f"--config.{name} needs a value: --config.{name}=...")
        overrides.append((name, text))
    return rest, overrides


def _no_flag(word: str, defined: flags.FlagValues) -> str:
    name = word.lstrip("-").partition("=")[0]
    if not word.startswith("-") or not name:
        return f"{word!r} is not a flag; flags start with -- (--help lists them)."
    near = [f"--{match}" for match in difflib.get_close_matches(name, list(defined))]
    near += [f"--config.{match}" for match in _near_options(name)]
    hint = f"; did you mean {' or '.join(near)}?" if near else "; --help lists the flags."
    return f"unknown flag --{printable(name)}{hint}"


def _near_options(name: str) -> list[str]:
    names = [name for name in options.OPTIONS if name != "model"]
    return difflib.get_close_matches(name, names)


def _check(values: dict[str, Any]) -> None:
    require_choice("--mode", values["mode"], MODES)
    require_choice("--model", values["model"], MODELS)
    require_choice("--size", values["size"], SIZES)
    require_choice("--split", values["split"], SPLITS)
    for name in ("mesh", "max_sequences", "num_samples", "length", "prefix", "num_proposals"):
        if values[name] is not None and values[name] < 1:
            raise UserError(f"--{name} must be at least 1, got {values[name]}.")
    if values["workdir"] == "":
        raise UserError("--workdir is empty: give a path, or leave it out for the default.")
    if values["seed"] is not None and values["mode"] in ("train", "eval"):
        raise UserError(f"--seed is for what draws; {values['mode']} takes --config.seed.")
    if not 0 <= (values["seed"] or 0) < INTEGERS_BELOW:
        raise UserError(f"--seed must be at least 0 and less than {INTEGERS_BELOW:,}.")
    if min(values["row"] or [0]) < 0:
        raise UserError(f"--row must be at least 0, got {min(values['row'])}.")
    if not 0.0 < values["temperature"] < float("inf"):
        raise UserError(f"--temperature must be positive, got {values['temperature']}.")
