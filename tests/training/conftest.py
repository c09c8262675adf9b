"""A tiny corpus and ways to train on it."""

import random

import jax
import pytest

from nlf_jax.cli import options
from nlf_jax.data.corpus import Corpus
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.mesh import make_mesh
from nlf_jax.training.arrays import to_arrays
from nlf_jax.training.loop import Trainer

OVERRIDES = {"max_length": 9, "buckets": (), "batch_size": 8, "num_epochs": 3, "log_every": 2}
FAST = {"checkpoint_every": 4, "eval_batch_size": 8, "embedding": 4, "hidden": 4, "latent": 2}


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation(quick_compilation):
    """Everything here compiles much more than it runs, in other processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """36 + 12 + 12 random lines of 1 to 9 letters."""
    draw = random.Random(1)
    lines = ["".join(draw.choices("abcd", k=1 + n % 9)) for n in range(60)]
    vocabulary = Vocabulary(("a", "b", "c", "d"))
    rows = [vocabulary.encode(line) for line in lines]
    splits = {"train": rows[:36], "valid": rows[36:48], "test": rows[48:]}
    return Corpus.create("letters", splits, vocabulary=vocabulary, max_length=9)


@pytest.fixture(scope="session")
def make_config():
    def make(model="lstm", **changes):
        return options.get_config("ptb_char", model, "tiny", **OVERRIDES | FAST | changes)

    return make


@pytest.fixture(scope="session")
def changes():
    """Of the config of runs that are compared between devices; six rows are fewer than eight."""
    # Plain SGD: Adam would blow up the rounding of gradients near zero.
    return {
        "batch_size": 6, "num_epochs": 2, "dropout": 0.2, "optimizer": "sgd", "learning_rate": 0.5,
        "kl_zero_epochs": 0.0, "kl_ramp_epochs": 0.0, "checkpoint_every": 100, "log_every": 1,
        "flow_layers": 1, "flow_hidden": 4, "flow_hidden_layers": 1, "transform": "affine",
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_trainer(corpus):
    def make(config, workdir, data=corpus, num_devices=None):
        workdir.mkdir(exist_ok=True)
        return Trainer(config, data, workdir, make_mesh(num_devices))

    return make


@pytest.fixture
def final_arrays():
    """The whole state of a trainer, as arrays on the host."""

    def arrays(trainer):
        return to_arrays(jax.block_until_ready(trainer.state))

    return arrays
