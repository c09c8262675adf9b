import json

import pytest

import nlf_jax
from nlf_jax.cli import options
from nlf_jax.cli.flags import parse, scoring_config, training_config
from nlf_jax.errors import UserError
from nlf_jax.models import LANGUAGE_MODELS, MODELS
from nlf_jax.options import restore
from nlf_jax.training import workdir
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.state import Updates

PAPER = {
    "embedding": 500, "hidden": 500, "latent": 50, "lstm_layers": 2, "flow_layers": 5,
    "flow_hidden": 100, "flow_hidden_layers": 2, "dropout": 0.2, "batch_size": 15,
    "elbo_samples": 10, "nll_samples": 30, "optimizer": "adam", "learning_rate": 1e-3,
    "grad_clip": 0.25, "schedule": "plateau", "patience": 1, "num_epochs": 100,
    "max_length": 288, "length_smoothing": False, "tied": True, "transform": "nlsq",
}  # fmt: skip


def config(**changes):
    values = {name: options.read_value(name, text) for name, text in changes.items()}
    return options.get_config("ptb_char", "af_scf", "tiny", **values)


def as_json(made):
    return json.loads(json.dumps(vars(made)))


@pytest.mark.parametrize("model", ["af_af", "af_scf"])
def test_paper_size_is_the_published_recipe(model):
    made = options.get_config("ptb_char", model, "paper")
    assert {name: getattr(made, name) for name in PAPER} == PAPER


def test_paper_size_of_the_others():
    iaf = options.get_config("ptb_char", "iaf_scf", "paper")
    assert (iaf.flow_layers, iaf.dropout) == (3, 0.0)
    lstm = options.get_config("ptb_char", "lstm", "paper")
    assert (lstm.optimizer, lstm.learning_rate, lstm.dropout) == ("sgd", 20.0, 0.1)
    assert (lstm.kl_zero_epochs, lstm.kl_ramp_epochs, lstm.elbo_samples) == (0.0, 0.0, 1)


@pytest.mark.parametrize("size", ["tiny", "small", "paper"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("experiment", ["ptb_char", "quickstart", "text"])
def test_every_combination_is_valid_and_survives_json(experiment, model, size):
    made = options.get_config(experiment, model, size)
    assert restore(TrainConfig, as_json(made), workdir.FORMAT) == made
    types = {name: type(option.default) for name, option in options.OPTIONS.items()}
    assert {name: type(value) for name, value in vars(made).items()} == types


@pytest.mark.parametrize("model", MODELS)
def test_tuned_recipes_are_for_music_and_penn_treebank(model):
    music = options.get_config("polyphonic", model, "tuned", "jsb_chorales")
    assert music.frame_units > 0
    text = options.get_config("ptb_char", model, "tuned")
    assert (text.frame_units, text.emission) == (0, "categorical")
    with pytest.raises(UserError, match="text has tiny, small and paper"):
        options.get_config("text", model, "tuned")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("recurrence", ["lstm", "gated"])
def test_tuned_runs_have_epochs_after_the_kl_ramp_to_choose_from(model, recurrence):
    if model in LANGUAGE_MODELS and model != recurrence:
        with pytest.raises(UserError, match=r"recurrence .* is not that of the model"):
            options.get_config("ptb_char", model, "tuned", recurrence=recurrence)
        return
    made = options.get_config("ptb_char", model, "tuned", recurrence=recurrence)
    assert made.kl_zero_epochs + made.kl_ramp_epochs < made.num_epochs / 2


def test_recipes_depend_on_the_recurrence():
    chosen = {
        kind: options.get_config("ptb_char", "af_codebook", "tuned", recurrence=kind)
        for kind in ("lstm", "gated")
    }
    assert options.get_config("ptb_char", "af_codebook", "tuned") == chosen["lstm"]
    assert (chosen["gated"].recurrence, chosen["gated"].adam_b2) == ("gated", 0.99)
    assert (chosen["lstm"].recurrence, chosen["lstm"].adam_b2) == ("lstm", 0.999)
    assert chosen["gated"].lstm_layers != chosen["lstm"].lstm_layers
    line = parse(["--model=af_codebook", "--size=tuned", "--config.recurrence=gated"], {})
    assert training_config("ptb_char", line) == chosen["gated"]
    assert options.get_config("ptb_char", "gated", "small").adam_b2 == 0.99


def test_the_average_of_weights_is_reachable():
    made = config(average="0.995", weight_decay="0.1", adam_b2="0.99")
    updates = Updates(**{name: getattr(made, name) for name in Updates._fields})
    assert (updates.average, updates.weight_decay, updates.adam_b2) == (0.995, 0.1, 0.99)


def test_overrides_keep_their_types():
    made = config(hidden="16", tied="false", learning_rate="1", buckets="4,8", schedule="cosine")
    assert (made.hidden, made.tied, made.learning_rate, made.buckets) == (16, False, 1.0, (4, 8))
    assert type(made.learning_rate) is float
    assert config(buckets="").buckets == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("hiden", "8", r"^unknown option --config.hiden; did you mean hidden"),
        ("zzzzzz", "8", r"^unknown option --config.zzzzzz\.$"),
        ("hidden", "8.5", r"^--config.hidden needs a whole number, got '8.5'\.$"),
        ("learning_rate", "fast", r"needs a number, got 'fast'"),
        ("tied", "maybe", "needs true or false, got 'maybe'"),
        ("buckets", "4;8", "needs whole numbers with commas"),
        ("hidden", "9" * 5000, "needs a whole number"),
    ],
)
def test_wrong_overrides_are_one_clear_line(name, text, message):
    with pytest.raises(UserError, match=message):
        config(**{name: text})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": "-1"}, "--config.hidden must be at least 1 and less than .*, got -1"),
        ({"dropout": "1"}, "--config.dropout must be at least 0 and less than 1, got 1"),
        ({"learning_rate": "nan"}, "--config.learning_rate must be"),
        ({"learning_rate": "inf"}, "--config.learning_rate must be"),
        ({"learning_rate": "-0.1"}, "--config.learning_rate must be"),
        ({"optimizer": "adm"}, "--config.optimizer is 'adm'; did you mean adam.*one of adam, sgd"),
        ({"latent": "1"}, "--config.latent must be at least 2: af_scf"),
        ({"hidden": "9"}, "--config.tied shares weights between embedding=8 and hidden=9"),
        ({"buckets": "8,4"}, "--config.buckets must be increasing"),
        ({"transpose": "3"}, "piano rolls only"),
        ({"mixtures": "2"}, "piano rolls only"),
        ({"frame_units": "2"}, "piano rolls only"),
        ({"seed": "4294967296"}, "--config.seed must be at least 0 and less than 4,294,967,296"),
        ({"hidden": "9" * 30, "embedding": "9" * 30}, "less than 100,000, got 99999"),
        ({"buckets": f"4,{2**32}"}, "--config.buckets must be increasing"),
        ({"num_epochs": "0"}, "--config.num_epochs must be at least 1"),
    ],
)
def test_wrong_values_are_one_clear_line(changes, message):
    with pytest.raises(UserError, match=message):
        config(**changes)


def test_unknown_model_and_size():
    with pytest.raises(UserError, match="--model is 'af_sfc'; did you mean af_scf"):
        options.get_config("ptb_char", "af_sfc", "tiny")
    with pytest.raises(
        UserError, match="--size is 'huge'; choose one of tiny, small, paper, tuned"
    ):
        options.get_config("ptb_char", "lstm", "huge")


def test_config_is_frozen():
    with pytest.raises(AttributeError):
        config().hidden = 3
    with pytest.raises(TypeError, match="hiddn"):
        options.get_config("ptb_char", "lstm", "tiny", hiddn=3)


def test_runs_from_before_an_option_was_added_can_be_read():
    values = {n: v for n, v in as_json(config()).items() if options.OPTIONS[n].since == 1}
    assert "recurrence" not in values
    assert restore(TrainConfig, values, written_as=1) == config()
    with pytest.raises(UserError, match="another version"):
        restore(TrainConfig, values, written_as=2)


@pytest.mark.parametrize(
    "change", [{"hidden": "8"}, {"buckets": 5}, {"buckets": ["a"]}, {"hidden": -1}, {"new": 1}]
)
def test_damaged_json_is_refused(change):
    with pytest.raises(UserError):
        restore(TrainConfig, as_json(config()) | change, workdir.FORMAT)


def test_buckets_end_at_max_length():
    assert config(buckets="4,8,20").bucket_lengths(16) == (4, 8, 16)


def test_what_training_fixed_can_be_given_again():
    """Quick start scores after training, with the command line of training."""
    trained = {"config": as_json(config(num_epochs="1")), "format": workdir.FORMAT}
    line = parse(["--config.num_epochs=1", "--config.hidden=8", "--config.nll_samples=7"], {})
    assert scoring_config(trained, line).nll_samples == 7
    with pytest.raises(UserError, match="num_epochs was fixed in training"):
        scoring_config(trained, parse(["--config.num_epochs=2"], {}))


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        ("lstm", "posterior", "factorised"),
        ("gated", "code_width", 0.5),
        ("af_codebook", "transform", "mixture"),
        ("af_codebook", "vae_dropout", 0.5),
        ("af_codebook", "products", "bfloat16"),
        ("af_scf", "code_reading", "raw"),
        ("af_scf", "mixture_components", 4),
        ("af_only", "temporal_layers", 2),
    ],
)
def test_an_option_that_nothing_reads_is_refused(model, name, value):
    usual = getattr(options.get_config("text", model, "tiny"), name)
    options.get_config("text", model, "tiny", **{name: usual})
    with pytest.raises(UserError, match=f"--config.{name} changes nothing in {model}: leave it"):
        options.get_config("text", model, "tiny", **{name: value})
    with pytest.raises(UserError, match=f"^{name} changes nothing"):
        nlf_jax.fit(["ab", "ba"] * 10, model=model, size="tiny", **{name: value})
