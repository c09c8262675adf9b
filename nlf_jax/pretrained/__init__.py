"""Trained models that come with the package, each a file of weights with its card.

``<name>.safetensors`` is what ``nlf export`` wrote, ``<name>.md`` says what it was trained on, how
well it does and what it is not for.
"""

from pathlib import Path

from nlf_jax.options import require_choice

PREFIX = "pretrained:"
SUFFIX = ".safetensors"


def names() -> list[str]:
    """The names of the models, as ``pretrained:<name>`` takes them."""
    return sorted(path.stem for path in Path(__file__).parent.glob(f"*{SUFFIX}"))


def path_of(name: str) -> Path:
    """The file of a model.

    Raises:
        UserError: there is no model of this name; the message has the names that there are.
    """
    require_choice("the pretrained model", name, names())
    return Path(__file__).parent / f"{name}{SUFFIX}"
