"""The structure of a model, as a description of a run says: nothing is allocated for it."""

from typing import Any

import jax
import jax.numpy as jnp

from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.models import ModelConfig, SequenceModel, create_network
from nlf_jax.options import LENGTHS_BELOW, restore
from nlf_jax.training.checkpoint_reading import first_line
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.workdir import Description, digest_of

_MAX_SYMBOLS = 2**31


def model_template(
    description: Description, vocabulary_json: str | None, *, config_in: str, vocabulary_in: str
) -> SequenceModel:
    """The model with shapes for arrays.

    Args:
        description: of the run, as ``workdir.checked_description`` gives it.
        vocabulary_json: None for music and plain ids.
        config_in: where the description was found, for messages.
        vocabulary_in: where the vocabulary was or should have been found.

    Raises:
        UserError: they describe no model that can be built.
    """
    try:
        vocabulary = None if vocabulary_json is None else Vocabulary.from_json(vocabulary_json)
    except UserError as error:
        raise UserError(f"{vocabulary_in}: {error}") from error
    try:
        config = restore(TrainConfig, description["config"], description["format"]).network
        data = description["data"]
        num_symbols = _number_below(_MAX_SYMBOLS, data["num_symbols"])
        max_length = _number_below(LENGTHS_BELOW, data["max_length"])
        template = jax.eval_shape(
            lambda key: _blank_model(config, num_symbols, max_length, vocabulary, key),
            jax.random.key(0),
        )
    except (KeyError, TypeError, ValueError, OverflowError, UserError) as error:
        raise UserError(f"{config_in} does not describe a model ({first_line(error)}).") from error
    if config.is_text and not data.get("ids") and not _is_of(vocabulary, data):
        raise UserError(f"{vocabulary_in} is missing or of another model.")
    return template


def _is_of(vocabulary: Vocabulary | None, data: dict[str, Any]) -> bool:
    """Whether it is that of these data; older versions wrote down no more than its size."""
    if vocabulary is None or len(vocabulary) != data["num_symbols"]:
        return False
    found = digest_of(vocabulary.to_json())
    return data.get("vocabulary", found) == found


def _number_below(limit: int, value: Any) -> int:
    if type(value) is not int or not 1 <= value < limit:
        raise ValueError(f"a number is not from 1 to {limit - 1:,}")
    return value


def _blank_model(
    config: ModelConfig, num_symbols: int, max_length: int, vocabulary: Vocabulary | None, key: Any
) -> SequenceModel:
    network = create_network(config, num_symbols=num_symbols, max_length=max_length, key=key)
    prior = jnp.zeros(max_length + 1)
    return SequenceModel(network=network, length_log_prob=prior, vocabulary=vocabulary)
