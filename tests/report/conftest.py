"""Runs of a step, whose reports are made once; everything here compiles more than it runs."""

import dataclasses
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from nlf_jax.cli import options
from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import MIDI
from nlf_jax.data.corpus import Corpus
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.mesh import make_mesh
from nlf_jax.report import density, timing
from nlf_jax.training import workdir
from nlf_jax.training.loop import Trainer

LINES = ["<script>alert(1)</script>", "<b>&amp;\"'$x_1$\t</b>", "a <img src=x onerror=alert(1)>"]
SMALL = {"embedding": 4, "hidden": 4, "latent": 3, "max_length": 32, "eval_batch_size": 2}
STEPS = [("train", 1), ("train", 2), ("valid", 2), ("train", 3)]
VOID = {"meta", "link", "img", "br"}


@pytest.fixture(scope="session", autouse=True)
def _little_work():
    """Every length would compile, and draws take time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "_NUM_LENGTHS", 1)
        patch.setattr(density, "NUM_DRAWS", 100)
        yield


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation(quick_compilation, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def make_run(directory, corpus, model, **frame):
    """A run of one step; gives what makes its report: arguments -> exit code."""
    directory.mkdir()
    emission = "categorical" if corpus.is_text else "bernoulli"
    config = options.get_config("letters", model, "tiny", **SMALL, emission=emission)
    description = workdir.describe("letters", config, corpus, frame=frame)
    workdir.claim(directory, description, corpus.vocabulary_json)
    Trainer(config, corpus, directory, make_mesh(1)).run(lambda: True)

    def report(*argv, data=True):
        experiment = dataclasses.replace(MIDI, name="letters", load_corpus=lambda *_: found(data))
        return main(experiment, ["--mode=report", f"--workdir={directory}", *argv])

    def found(data):
        if not data:
            raise UserError("the file is gone")
        return corpus

    return report


def text_corpus():
    vocabulary = Vocabulary.from_lines(LINES)
    rows = [vocabulary.encode(line) for line in LINES]
    splits = {"train": rows * 2, "valid": rows, "test": rows}
    return Corpus.create("<i>letters</i>", splits, vocabulary=vocabulary, max_length=32)


def music_corpus():
    rolls = [np.random.default_rng(n).random((6 + n, 88)) < 0.05 for n in range(3)]
    splits = {"train": rolls, "valid": rolls, "test": rolls}
    return Corpus.create("notes", splits, vocabulary=None, max_length=32)


@dataclasses.dataclass
class Made:
    """A directory with a report, and what makes another."""

    directory: object
    report: object

    @property
    def page(self):
        return Page((self.directory / "report.html").read_text())


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    directory = tmp_path_factory.mktemp("text") / "<script>alert(2)"
    made = Made(directory, make_run(directory, text_corpus(), "af_codebook"))
    rows = [{"split": s, "step": n, "bpc": 5 - n, "kl": 3 - n, "recon": 0.5} for s, n in STEPS]
    lines = ["broken", "5", '{"step": null}', *map(json.dumps, rows)]
    (directory / "metrics.jsonl").write_text("\n".join(lines))
    scores = {"nll_bits": 1.25, "nll_bits_standard_error": 0.5, "kl_bits": "<b>"}
    evaluation = {"scores": scores, "sequences": 3, "command": "<script>"}
    (directory / "eval_test.json").write_text(json.dumps(evaluation))
    assert made.report(f"--figures={directory}/figures") == 0
    return made


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    directory = tmp_path_factory.mktemp("music") / "run"
    made = Made(directory, make_run(directory, music_corpus(), "af_nohidden", frame_seconds=0.5))
    assert made.report() == 0
    return made


class Page(HTMLParser):
    """A page taken apart: elements as (name, attributes), texts, and what is not closed."""

    def __init__(self, source):
        super().__init__()
        self.source, self.elements, self.texts, self.wrong, self._open = source, [], [], [], []
        self.feed(source)
        self.close()
        self.wrong += self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)

    def named(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]
