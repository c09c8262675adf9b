"""Runs the tests with the oldest and with the newest versions that setup.cfg admits.

    python tests/matrix.py [--versions=oldest,newest] [--pythons=python3.11,..] [pytest's arguments]

For every Python from 3.11 to 3.14 that is found, and both ends of the versions, an environment is
made anew in a temporary folder. The oldest are the lower bounds of setup.cfg, where that Python
has them; the newest are what pip finds. The exit code is 1 if any of the runs failed.
"""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")
EXTRAS = ("quickstart", "music", "dev")


def lower_bounds(text: str) -> list[str]:
    """``name==version`` of every requirement ``name>=version`` of the runtime and the extras."""
    config = configparser.ConfigParser()
    config.read_string(text)
    lines = config["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        lines += config["options.extras_require"][extra].splitlines()
    found = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)$", "\n".join(lines), re.MULTILINE)
    return sorted({f"{name}=={version}" for name, version in found})


def prepare(python: str, folder: Path, oldest: bool) -> str:
    """An environment with the package and its tests' needs; gives its Python."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = str(folder / "bin" / "python")
    install = [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    install += ["--editable", f"{ROOT}[{','.join(EXTRAS)}]"]
    if oldest:
        constraints = folder / "oldest.txt"
        constraints.write_text("\n".join(lower_bounds((ROOT / "setup.cfg").read_text())) + "\n")
        install += ["--constraint", str(constraints)]
    subprocess.run(install, check=True)
    return inside


def run(python: str, versions: str, arguments: list[str]) -> bool:
    """Whether the tests pass; their output goes to the terminal."""
    print(f"\n== {python}, {versions} versions", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            inside = prepare(python, Path(folder, "venv"), versions == "oldest")
        except subprocess.CalledProcessError:
            print(f"{python}: these versions cannot be installed together.", file=sys.stderr)
            return False
        return subprocess.run([inside, "-m", "pytest", *arguments], cwd=ROOT).returncode == 0


def main() -> int:
    """Runs what is asked for, and tells what passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", default="oldest,newest")
    parser.add_argument("--pythons", default=",".join(PYTHONS))
    known, arguments = parser.parse_known_args()
    pythons = [python for python in known.pythons.split(",") if shutil.which(python)]
    os.environ.setdefault("PIP_PREFER_BINARY", "1")
    cases = [(python, each) for python in pythons for each in known.versions.split(",")]
    passed = {case: run(*case, arguments) for case in cases}
    print(
        "\n" + "\n".join(f"{p}, {v}: {'ok' if ok else 'FAILED'}" for (p, v), ok in passed.items())
    )
    return 0 if passed and all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
