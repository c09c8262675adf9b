"""The documentation: its examples run, its commands are understood, its links lead somewhere.

``make docs`` builds it, and checks the links between pages with their anchors.
"""

import contextlib
import doctest
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest

import nlf_jax
from nlf_jax.cli import flags
from nlf_jax.cli.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
# The tutorial's run is what later pages load.
WITH_EXAMPLES = ["index", "tutorial", "models", *(f"howto/{p.stem}" for p in DOCS.glob("howto/*"))]


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of every command line that is shown, indented or fenced."""
    indented = re.findall(r"^    (?:nlf|make|python -m) .*$", text, re.MULTILINE)
    lines = "\n".join([*blocks(text, "sh"), *blocks(text, ""), *indented]).splitlines()
    shown = [line.strip() for line in lines if re.match(r"\s*(nlf|make|python -m) ", line)]
    return [shlex.split(line, comments=True) for line in shown if "<" not in line]


def doctests(name: str) -> list[doctest.Example]:
    thing = getattr(nlf_jax, name)
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    return [example for each in found for example in each.examples]


def run_doctests(name: str) -> None:
    thing, told = getattr(nlf_jax, name), io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for each in doctest.DocTestFinder(recurse=False).find(thing, name, globs={}):
        runner.run(each, out=told.write)
    assert not runner.failures, told.getvalue()


def run_page(name: str) -> None:
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks((DOCS / f"{name}.md").read_text(), "python"), 1):
        exec(compile(block, f"{name}.md, block {number}", "exec"), namespace)


@pytest.mark.parametrize("name", nlf_jax.__all__)
def test_every_public_name_has_an_example(name):
    assert doctests(name)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("quick_compilation")
def test_examples_run(tmp_path, monkeypatch):
    """In one process, as they share what they compile."""
    pytest.importorskip("mido")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path / "cache"))
    failures = []
    runs = [(run_page, page) for page in WITH_EXAMPLES]
    for run, name in runs + [(run_doctests, name) for name in nlf_jax.__all__]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                run(name)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)


def check_flags(words: list[str], experiment: str | None = None) -> None:
    """Flags that the experiment has; of an unknown one, any experiment's."""
    chosen = EXPERIMENTS.values() if experiment is None else [EXPERIMENTS[experiment]]
    extra = {name: each for one in chosen for name, each in one.flags.items()}
    flags.require_suited(flags.parse(words, extra))


def check_nlf(words: list[str]) -> None:
    command, subject, *rest = words
    assert command in flags.MODES
    check_flags([f"--mode={command}", *rest], subject if command == "train" else None)


def check_make(words: list[str]) -> None:
    target, *settings = words
    targets = re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert target in " ".join(targets).split()
    values = dict(setting.split("=", 1) for setting in settings)
    assert values.keys() <= {"EXP", "WORKDIR", "ARGS", "PYTHON"}
    if target in flags.MODES:
        words = [f"--mode={target}", *shlex.split(values.get("ARGS", ""))]
        check_flags(words, values.get("EXP", "quickstart"))


def check_python(words: list[str]) -> None:
    dash_m, module, *rest = words
    assert dash_m == "-m"
    assert importlib.util.find_spec(module)
    if module.startswith("experiments."):
        check_flags(rest, module.removeprefix("experiments."))


@each_page
def test_commands_are_understood(page):
    check = {"nlf": check_nlf, "make": check_make, "python": check_python}
    for program, *words in commands(page.read_text()):
        check[program](words)


@pytest.mark.parametrize(
    "line",
    [
        "nlf smaple runs/x",
        "nlf train text --no_such_flag=1",
        "make no-such-target",
        "make train EXP=text ARGS='--dataset=x'",
        "python -m experiments.text --config.hiden=8 --nope",
    ],
)
def test_a_wrong_command_is_found(line):
    check = {"nlf": check_nlf, "make": check_make, "python": check_python}
    program, *words = commands(f"```sh\n{line}\n```\n")[0]
    with pytest.raises((AssertionError, nlf_jax.UserError)):
        check[program](words)


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_contents():
    contents = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f"- {page.relative_to(DOCS)}\n" in contents, page
