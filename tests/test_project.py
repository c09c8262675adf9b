"""The standards of the project that a program can check."""

import ast
import configparser
import functools
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = ("nlf_jax", "experiments", "benchmarks")
SOURCES = sorted(p for top in OWN for p in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TEXT_SUFFIXES = {".py", ".md", ".cfg", ".toml", ".json", ".jsonl", ".tsv", ".ipynb"}
UNTRACKED = {"runs", "build", "dist"}
# Most have 50 to 250; one subject may need more.
MAX_LINES = 450

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
each_file = pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda p: str(p.relative_to(ROOT)))


def imported_packages(path: Path) -> set[str]:
    """Top-level names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def declared_packages(*extras: str) -> set[str]:
    """Normalised names of the distributions that setup.cfg asks for."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    for extra in extras:
        lines += config["options.extras_require"][extra].split("\n")
    names = {re.match(r"[\w.-]*", line)[0] for line in lines if line.strip()}
    return {normalised(name) for name in names}


@functools.cache
def installed_providers() -> dict[str, list[str]]:
    """Which installed distributions bring an importable name; slow to find out."""
    return dict(importlib.metadata.packages_distributions())


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def text_files() -> list[Path]:
    tops = [p for p in ROOT.iterdir() if p.name[0] != "." and p.name not in UNTRACKED]
    files = [q for p in tops for q in ([p] if p.is_file() else p.rglob("*"))]
    named = [ROOT / "Makefile", ROOT / ".ci/run"]
    return [p for p in files if p.is_file() and p.suffix in TEXT_SUFFIXES] + named


@each_file
def test_file_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@each_file
def test_nothing_is_unpickled(path):
    assert not imported_packages(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}


@each_source
def test_nothing_is_evaluated(path):
    nodes = ast.walk(ast.parse(path.read_text()))
    called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__"}


@each_source
def test_no_tensorflow(path):
    assert not imported_packages(path) & {"tensorflow", "tensorflow_probability", "clu"}


@each_source
def test_public_functions_are_annotated(path):
    bare = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if node.returns is None or any(a.annotation is None for a in arguments):
                bare.append(node.name)
    assert not bare


@each_source
def test_every_import_is_declared(path):
    providers = installed_providers()
    declared = declared_packages("music", "torch")
    for package in imported_packages(path) - sys.stdlib_module_names - set(OWN):
        found = {normalised(name) for name in providers.get(package, [package])}
        assert found & declared, f"{package} is imported but setup.cfg doesn't ask for it"


def test_no_path_of_one_machine():
    pattern = re.compile(r"(?<![\w.<])/(work|root|home/\w+|Users/\w+)/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_every_experiment_has_a_main_and_a_docstring():
    makefile_marker = '__name__ == "__main__"'
    runnable = [p for p in SOURCES if p.parts[-2] == "experiments"]
    runnable = [p for p in runnable if makefile_marker in p.read_text()]
    assert {"ptb_char", "quickstart", "text"} <= {p.stem for p in runnable}
    assert all(ast.get_docstring(ast.parse(p.read_text())) for p in runnable)
