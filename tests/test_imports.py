"""Imports point one way; the layers are read from the source, nothing is imported."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each part of the project may import, besides itself and what is at the bottom.
BOTTOM = {"nlf_jax.errors", "nlf_jax.files", "nlf_jax.options"}
ALLOWED = {
    "nlf_jax.errors": set(),
    "nlf_jax.options": set(),
    "nlf_jax.files": set(),
    "nlf_jax.data": set(),
    "nlf_jax.nn": set(),
    "nlf_jax.bijectors": {"nlf_jax.nn"},
    "nlf_jax.models": {"nlf_jax.bijectors", "nlf_jax.nn", "nlf_jax.data"},
    "nlf_jax.arguments": {"nlf_jax.models"},
}
ALLOWED["nlf_jax.objectives"] = ALLOWED["nlf_jax.models"] | {"nlf_jax.models", "nlf_jax.arguments"}
ALLOWED["nlf_jax.mesh"] = set()
ALLOWED["nlf_jax.sampling"] = ALLOWED["nlf_jax.objectives"] | {"nlf_jax.objectives", "nlf_jax.mesh"}
ALLOWED["nlf_jax.latents"] = ALLOWED["nlf_jax.sampling"] | {"nlf_jax.sampling"}
ALLOWED["nlf_jax.media"] = ALLOWED["nlf_jax.sampling"] | {"nlf_jax.sampling", "nlf_jax.data"}
ALLOWED["nlf_jax.scoring"] = ALLOWED["nlf_jax.sampling"]
ALLOWED["nlf_jax.pretrained"] = set()
ALLOWED["nlf_jax.training"] = ALLOWED["nlf_jax.media"] | {"nlf_jax.pretrained"}
ALLOWED["nlf_jax"] = ALLOWED["nlf_jax.training"] | {
    "nlf_jax.training",
    "nlf_jax.media",
    "nlf_jax.latents",
    "nlf_jax.scoring",
}
ALLOWED["nlf_jax.report"] = ALLOWED["nlf_jax"]
ALLOWED["nlf_jax.cli"] = ALLOWED["nlf_jax"] | {"nlf_jax", "nlf_jax.report"}
ALLOWED["experiments"] = {"nlf_jax.cli"}
ALLOWED["benchmarks"] = ALLOWED["nlf_jax.cli"] | {"nlf_jax.cli"}
TOPS = ("nlf_jax", "experiments", "benchmarks")

ACCELERATED = {"jax", "jaxlib", "flax", "optax", "orbax", "jaxtyping"}


def part_of(module: str) -> str:
    """The part that a dotted module name lies in: `nlf_jax.nn.lstm` -> `nlf_jax.nn`."""
    top, *rest = module.split(".")
    return f"{top}.{rest[0]}" if top == "nlf_jax" and rest else top


def imports(source: str) -> set[str]:
    """Absolute dotted names of everything that the source imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the full name, not relative to the file"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def wrong_arrows(module: str, source: str) -> set[str]:
    part = part_of(module)
    own = {part_of(name) for name in imports(source)}
    own = {name for name in own if name.split(".")[0] in TOPS}
    return own - ALLOWED[part] - {part} - BOTTOM


def sources() -> list[Path]:
    return sorted(p for top in TOPS for p in (ROOT / top).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_point_one_way(path):
    assert not wrong_arrows(module_name(path), path.read_text())


@pytest.mark.parametrize("path", sorted((ROOT / "nlf_jax/data").rglob("*.py")), ids=module_name)
def test_data_imports_neither_jax_nor_flax(path):
    assert not {name.split(".")[0] for name in imports(path.read_text())} & ACCELERATED


@pytest.mark.parametrize(
    ("module", "source", "arrows"),
    [
        ("nlf_jax.nn.mlp", "from nlf_jax.models import config", {"nlf_jax.models"}),
        ("nlf_jax.nn.mlp", "from nlf_jax import models", {"nlf_jax.models"}),
        ("nlf_jax.nn.mlp", "def f():\n    import nlf_jax.training.loop", {"nlf_jax.training"}),
        ("nlf_jax.training.loop", "import nlf_jax.cli.commands", {"nlf_jax.cli"}),
        ("nlf_jax.errors", "from nlf_jax.nn.linear import Linear", {"nlf_jax.nn"}),
        ("nlf_jax.models.priors", "from nlf_jax.nn.linear import Linear", set()),
        ("nlf_jax.cli.commands", "import nlf_jax\nfrom nlf_jax.errors import UserError", set()),
    ],
)
def test_a_wrong_arrow_is_found(module, source, arrows):
    assert wrong_arrows(module, source) == arrows
