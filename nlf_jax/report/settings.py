"""What the run is: its facts in brief, and every option."""

from nlf_jax.models.config import LANGUAGE_MODELS
from nlf_jax.options import options_of
from nlf_jax.report.html import Html, element, joined, paragraph, table
from nlf_jax.report.page import Section
from nlf_jax.report.scores import evaluations_of, score_of
from nlf_jax.report.subject import Subject
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.evaluate import num_parameters

TITLE = "Configuration"


def facts(subject: Subject) -> Html:
    """The run in a few numbers."""
    data, unit = subject.description["data"], subject.unit
    nll = score_of(evaluations_of(subject).get("test"), f"nll_{unit.name}")
    found = {
        "Data": data.get("name", subject.description["experiment"]),
        "Model": subject.config.model,
        "Network": _network(subject),
        "Parameters": f"{num_parameters(subject.model):,}",
        "Steps": f"{subject.steps:,}",
        f"Test NLL, {subject.unit_name}": "not scored" if nll is None else f"{nll:.3f}",
    }
    pairs = [
        element("div", element("dt", name), element("dd", value)) for name, value in found.items()
    ]
    return element("dl", *pairs, class_="facts")


def settings_section(subject: Subject) -> Section:
    """A table of all options with their help."""
    options = options_of(TrainConfig)
    rows = [
        (name, _text(getattr(subject.config, name)), each.help) for name, each in options.items()
    ]
    every = table(["option", "value", ""], rows, "Options, as --config.<name>=<value>")
    data = subject.description["data"]
    about = table(["data", "value"], [(n, v) for n, v in data.items()], "The data")
    summary = element("summary", f"All {len(rows)} options")
    details = element("details", summary, every)
    words = "Options that were not given have the recipe's values for this model and size."
    return Section(TITLE, joined([about, paragraph(words), details]))


def _network(subject: Subject) -> str:
    units = f"{subject.config.hidden} units"
    is_named = subject.config.model in LANGUAGE_MODELS
    return units if is_named else f"{subject.config.recurrence}, {units}"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
