"""The models that come with the package, and what their cards say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import nlf_jax
from nlf_jax import pretrained
from nlf_jax.errors import UserError
from nlf_jax.training.loading import load_described

FOLDER = Path(pretrained.__file__).parent
RESULTS = Path(__file__).parents[1] / "results" / "pretrained"
each_name = pytest.mark.parametrize("name", pretrained.names())


def test_there_is_a_model_with_a_card_for_each():
    assert "king_james" in pretrained.names()
    assert {path.stem for path in FOLDER.glob("*.md")} == set(pretrained.names())


@each_name
def test_the_card_says_what_was_measured(name):
    found = load_described(f"pretrained:{name}")
    card = (FOLDER / f"{name}.md").read_text()
    result = json.loads((RESULTS / f"{name}.json").read_text())
    assert found.steps == result["steps"]
    numbers = (f"{result['steps']:,}", f"{result['parameters']:,}", f"{result['sequences']:,}")
    numbers += (f"{result['scores']['nll_bits']:.3f}", result["data_fingerprint"][:12])
    numbers += (f"{(FOLDER / f'{name}.safetensors').stat().st_size:,}",)
    assert all(number in card for number in numbers), numbers
    for part in ("Data", "Licence", "Scores", "Limits", "make train"):
        assert part in card
    assert result["data_fingerprint"] == found.description["data"]["fingerprint"]


@each_name
def test_the_package_brings_it(name):
    setup = (Path(__file__).parents[1] / "setup.cfg").read_text()
    assert re.search(r"nlf_jax\.pretrained =\n +\*\.md\n +\*\.safetensors\n", setup)
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 10**7


def test_it_knows_its_text():
    model = nlf_jax.load("pretrained:king_james")
    known, strange = nlf_jax.score(model, ["And it came to pass", "Pass came zo it xnd"])
    assert known.bits_per_symbol + 1 < strange.bits_per_symbol
    assert known.exact
    assert np.isfinite(known.nats)


def test_an_unknown_name_is_told_the_near_ones():
    with pytest.raises(UserError, match=r"'kingjames'; did you mean king_james"):
        nlf_jax.load("pretrained:kingjames")
    with pytest.raises(UserError, match=r"choose one of .*king_james"):
        nlf_jax.load("pretrained:../king_james")
