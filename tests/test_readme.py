"""What README and documentation say of results is what the committed files say."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs/results.md").read_text()
SCORES = sorted((ROOT / "results").rglob("eval_test.json"))


def test_there_are_committed_scores():
    assert SCORES


@pytest.mark.parametrize("path", SCORES, ids=lambda p: str(p.relative_to(ROOT / "results")))
def test_results_have_the_committed_scores(path):
    result = json.loads(path.read_text())
    rows = [line for line in RESULTS.splitlines() if f"`{result['model']}`" in line]
    unit = "bits" if result["experiment"] == "ptb_char" else "nats"
    values = (f"{result['scores'][f'nll_{unit}']:.3f}", f"{result['steps']:,}")
    assert any(all(value in row for value in values) for row in rows)


def test_readme_is_one_screen():
    """What it is, one picture, two commands that do all set-up, a map."""
    assert len(README.splitlines()) <= 60
    assert README.index("docs/ptb_char.png") < README.index("make train EXP=quickstart")

    score = json.loads((ROOT / "results/quickstart/af_codebook-small/eval_test.json").read_text())
    assert f"{score['scores']['nll_bits']:.3f} bits per character" in README


def test_python_in_the_readme_parses():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)
