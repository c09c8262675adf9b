"""Published test scores: Ziegler & Rush (2019) and what they compare with."""

from collections.abc import Mapping

from nlf_jax.training.workdir import Description

PAPER = "Ziegler & Rush, Latent Normalizing Flows for Discrete Sequences (ICML 2019)"
SETTINGS = "500 hidden units, 100 epochs on a GPU"
# Bits per character.
_PTB = {"LSTM": 1.41, "AF/AF": 1.42, "AF/SCF": 1.46, "IAF/SCF": 1.63}
_METHODS = ("RNN-NADE", "NASMC", "SRNN", "LSTM", "AF/AF", "AF/SCF", "IAF/SCF")
# Nats per frame, by method.
_MUSIC = {
    "nottingham": (2.31, 2.72, 2.94, 3.43, 2.39, 2.56, 2.54),
    "piano_midi": (7.05, 7.61, 8.20, 7.77, 8.19, 8.26, 8.25),
    "muse_data": (5.60, 6.89, 6.28, 7.23, 6.92, 6.95, 7.06),
    "jsb_chorales": (5.19, 3.99, 4.74, 8.17, 6.53, 6.64, 6.59),
}


def published_scores(description: Description) -> Mapping[str, float]:
    """Test NLL by model, in the unit of the data; none for other data."""
    if description["experiment"] == "ptb_char":
        return _PTB
    name = description["data"].get("name") if description["experiment"] == "polyphonic" else None
    scores = _MUSIC.get(str(name))
    return dict(zip(_METHODS, scores, strict=True)) if scores else {}
