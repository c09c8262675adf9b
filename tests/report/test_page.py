import itertools
import re
import xml.etree.ElementTree as ElementTree
from importlib import resources

import numpy as np
import pytest

from nlf_jax.report import figures
from nlf_jax.report.html import Html, element
from nlf_jax.report.subject import visible
from tests.report.conftest import LINES

SECTIONS = [
    "Scores", "Learning", "Samples", "Cost by position", "Reconstructions", "Interpolation",
    "What comes next", "Time to generate", "Configuration",
]  # fmt: skip


@pytest.fixture(params=["text", "music"])
def made(request):
    return request.getfixturevalue(request.param)


def test_it_is_well_formed(made):
    page = made.page
    assert page.source.startswith("<!doctype html>")
    assert not page.wrong
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(#|href="#)([^")]+)', page.source)
    assert set(used) <= set(ids)
    assert len(page.source) < 3e6


def test_nothing_is_asked_of_the_outside(made):
    page = made.page
    assert not re.findall(r"(?:https?:)?//\w", re.sub(r'\bxmlns(:\w+)?="[^"]*"', "", page.source))
    assert not page.named("img")
    assert {a["href"][:5] for a in page.named("link")} == {"data:"}
    (policy,) = (a for a in page.named("meta") if "http-equiv" in a)
    assert policy["content"].startswith("default-src 'none'")


def test_it_has_its_sections_and_can_be_read_aloud(made):
    page = made.page
    assert [each for each in SECTIONS if each not in page.texts] == []
    assert [page.named("html")[0]["lang"], len(page.named("h1"))] == ["en", 1]
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in page.named("svg"))
    assert all(a["aria-label"] for a in page.named("button"))
    assert all("tabindex" in a for a in page.named("div") if a.get("class") == "wide")


def test_texts_are_escaped(text):
    page = text.page
    assert len(page.named("script")) == 1
    assert not page.named("b") + page.named("img") + page.named("i")
    assert LINES[0] in page.texts
    assert "<i>letters</i>: <script>alert(2)" in page.texts
    assert not any(name.startswith("on") for _, a in page.elements for name in a)


def test_scores_and_curves_are_shown(text, music):
    page = text.page
    assert [
        each for each in ("1.250 ± 0.500", "NLL", "<script>", "3") if each not in page.texts
    ] == []
    assert "lowest validation value is 3.000 bits per character, at step 2" in page.text
    assert "Left out: metrics.jsonl has no rows that can be read." in music.page.texts
    assert "Left out: the run was not scored yet" in music.page.text


def test_figures_are_files(text):
    folder = text.directory / "figures"
    names = {path.stem for path in folder.iterdir()}
    assert names == {"learning", "positions", "conditionals", "prior", "time", "learning-parts"}
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def test_rolls_have_players(music):
    players = [a for a in music.page.named("div") if "data-notes" in a]
    assert len(players) == len(music.page.named("button")) == 3 * 2 + 2 * 3 + 5
    assert players[0]["data-seconds"] == "0.5"
    assert re.fullmatch(r"\[(\[\d+,\d+,\d+\],?)*\]", players[0]["data-notes"])


def test_without_data_a_sentence_is_left(text, tmp_path, capsys):
    output = tmp_path / "new" / "other.html"
    assert text.report(f"--output={output}", "--text=<b>a", data=False) == 0
    source = output.read_text()
    assert source.count("the data are not at hand: the file is gone.") == 3
    assert "For the given text" in source
    assert str(output) in capsys.readouterr().out


def test_a_mistake_is_one_line(text, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert text.report("--text=é") == 2
    assert text.report(f"--text={'a' * 33}") == 2
    assert text.report(f"--output={tmp_path}/file/a.html") == 2
    assert text.report(f"--output={tmp_path}/a.html", f"--figures={tmp_path}/file") == 2
    errors = capsys.readouterr().err
    assert errors.count("error: ") == errors.count("\n") == 4


def luminance(colour):
    parts = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_every_colour_can_be_read_in_both_modes():
    """WCAG 2: at least 4.5 to 1. Figures as files have those of the light mode."""
    css = (resources.files("nlf_jax.report") / "page.css").read_text()
    modes = [dict(re.findall(r"--(\w+): (#\w{6});", part)) for part in css.split("@media")[:2]]
    for mode, on in itertools.product(modes, ("paper", "box")):
        for name in ("ink", "muted", "blue", "orange", "green"):
            bright, dark = sorted(luminance(mode[each]) + 0.05 for each in (name, on))[::-1]
            assert bright / dark >= 4.5, (name, on)
    assert {figures._VARIABLES[colour]: colour for colour in figures._VARIABLES}.items() <= (
        modes[0].items()
    )


def test_elements():
    assert element("p", "<", Html("<b>"), class_="x", hidden=True, id=None) == (
        '<p class="x" hidden>&lt;<b></p>'
    )
    assert element("p", aria_label='"<') == '<p aria-label="&quot;&lt;"></p>'


@pytest.mark.parametrize(
    ("symbol", "shown"), [("a", "a"), (" ", "␣"), ("\n", "␤"), ("\x85", "U+0085")]
)
def test_what_would_not_be_seen_has_a_sign(symbol, shown):
    assert visible(symbol) == shown
