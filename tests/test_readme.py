"""What the README says of results is what the committed files say."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SCORES = sorted((ROOT / "results").rglob("eval_test.json"))


def test_there_are_committed_scores():
    assert SCORES


@pytest.mark.parametrize("path", SCORES, ids=lambda p: str(p.relative_to(ROOT / "results")))
def test_readme_has_the_committed_scores(path):
    result = json.loads(path.read_text())
    rows = [line for line in README.splitlines() if f"`{result['model']}`" in line]
    unit = "bits" if result["experiment"] == "ptb_char" else "nats"
    values = (f"{result['scores'][f'nll_{unit}']:.3f}", f"{result['steps']:,}")
    assert any(all(value in row for value in values) for row in rows)


def test_python_in_the_readme_parses():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        ast.parse(block)


def test_linked_files_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
