"""Published test scores: Ziegler & Rush (2019) and what they compare with."""

from collections.abc import Mapping

from nlf_jax.training.workdir import Description

PAPER = "Ziegler & Rush, Latent Normalizing Flows for Discrete Sequences (ICML 2019)"
SETTINGS = "500 hidden units, 100 epochs on a GPU"
# Bits per character.
_PTB = {"LSTM": 1.41, "AF/AF": 1.42, "AF/SCF": 1.46, "IAF/SCF": 1.63}
# Nats per frame.
_MUSIC = {
    "nottingham": {
        "RNN-NADE": 2.31, "NASMC": 2.72, "SRNN": 2.94,
        "LSTM": 3.43, "AF/AF": 2.39, "AF/SCF": 2.56, "IAF/SCF": 2.54,
    },
    "piano_midi": {
        "RNN-NADE": 7.05, "NASMC": 7.61, "SRNN": 8.20,
        "LSTM": 7.77, "AF/AF": 8.19, "AF/SCF": 8.26, "IAF/SCF": 8.25,
    },
    "muse_data": {
        "RNN-NADE": 5.60, "NASMC": 6.89, "SRNN": 6.28,
        "LSTM": 7.23, "AF/AF": 6.92, "AF/SCF": 6.95, "IAF/SCF": 7.06,
    },
    "jsb_chorales": {
        "RNN-NADE": 5.19, "NASMC": 3.99, "SRNN": 4.74,
        "LSTM": 8.17, "AF/AF": 6.53, "AF/SCF": 6.64, "IAF/SCF": 6.59,
    },
}  # fmt: skip


def published_scores(description: Description) -> Mapping[str, float]:
    """Test NLL by model, in the unit of the data; none for other data."""
    if description["experiment"] == "ptb_char":
        return _PTB
    name = description["data"].get("name") if description["experiment"] == "polyphonic" else None
    return _MUSIC.get(str(name), {})
