"""Faults to make on purpose, each with the tests that should notice it; see ``mutate``.

``before`` occurs once in the file. Kinds: numerics, sampling, scoring, training, resuming, locking,
what users hand over.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A fault, and where it is made."""

    fault: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]


OBJECTIVES = ("tests/models/test_objectives.py",)
SAMPLING = ("tests/models/test_sampling.py",)
LATENTS = ("tests/models/test_latents.py",)
PUBLIC = ("tests/test_public_functions.py",)
BIJECTORS = ("tests/bijectors/test_properties.py",)
SCALAR = ("tests/bijectors/test_scalar.py",)
EVALUATE = ("tests/training/test_evaluate.py",)
STATE = ("tests/training/test_state.py",)
LOOP = ("tests/training/test_loop.py",)
SCHEDULES = ("tests/training/test_schedules.py",)
BATCHING = ("tests/data/test_batching.py",)
WORKDIR = ("tests/training/test_workdir.py",)
CHECKPOINTS = ("tests/training/test_checkpoints.py",)

MUTATIONS = (
    Mutation(
        "the KL term is added",
        "nlf_jax/objectives.py",
        "bound = reconstruction - kl_weight * kl",
        "bound = reconstruction + kl_weight * kl",
        OBJECTIVES,
    ),
    Mutation(
        "importance weights are summed, not averaged",
        "nlf_jax/objectives.py",
        " - math.log(log_weights.shape[-1])",
        "",
        OBJECTIVES,
    ),
    Mutation(
        "filler rows have a length term",
        "nlf_jax/objectives.py",
        "jnp.where(lengths > 0, model.length_log_prob[lengths], 0.0)",
        "model.length_log_prob[lengths]",
        OBJECTIVES,
    ),
    Mutation(
        "the loss is divided by T",
        "nlf_jax/objectives.py",
        "(lengths + 1).astype(jnp.float32)",
        "jnp.maximum(lengths, 1).astype(jnp.float32)",
        OBJECTIVES,
    ),
    Mutation(
        "all rows of a batch have one key",
        "nlf_jax/objectives.py",
        "jax.random.split(keys, x.shape[0])",
        "jnp.broadcast_to(keys, (x.shape[0],))",
        OBJECTIVES + PUBLIC,
    ),
    Mutation(
        "an id beyond the vocabulary passes",
        "nlf_jax/arguments.py",
        "(x < 0) | (x >= num_symbols)",
        "x < 0",
        PUBLIC,
    ),
    Mutation(
        "a length beyond the row passes",
        "nlf_jax/arguments.py",
        "(lengths < 0) | (lengths > num_steps)",
        "lengths < 0",
        PUBLIC,
    ),
    Mutation(
        "the key of the length draws the symbols too",
        "nlf_jax/sampling.py",
        "length_keys, symbol_keys = split_each(keys)",
        "length_keys, symbol_keys = keys, keys",
        PUBLIC,
    ),
    Mutation(
        "empty samples are drawn",
        "nlf_jax/sampling.py",
        ".at[0].set(-jnp.inf)",
        ".at[0].set(0.0)",
        SAMPLING,
    ),
    Mutation(
        "a sample has one step too many",
        "nlf_jax/sampling.py",
        "step_mask(lengths, symbols.shape[1])",
        "step_mask(lengths + 1, symbols.shape[1])",
        SAMPLING,
    ),
    Mutation(
        "temperature multiplies the scores",
        "nlf_jax/models/emissions.py",
        "jax.random.categorical(key, scores / temperature)",
        "jax.random.categorical(key, scores * temperature)",
        SAMPLING,
    ),
    Mutation(
        "a continuation can be as short as its opening",
        "nlf_jax/latents.py",
        "jnp.arange(log_prob.size) > known",
        "jnp.arange(log_prob.size) >= known",
        LATENTS,
    ),
    Mutation(
        "a continuation is picked from another sample's proposals",
        "nlf_jax/latents.py",
        "chosen += num_proposals * jnp.arange(num_samples, dtype=chosen.dtype)",
        "chosen += num_proposals * jnp.zeros_like(chosen)",
        LATENTS,
    ),
    Mutation(
        "blended noise is not of unit variance",
        "nlf_jax/latents.py",
        "weights = weights / jnp.where(scale > 0.0, scale, 1.0)[None]",
        "weights = weights / 1.0",
        LATENTS,
    ),
    Mutation(
        "importance weights of an opening leave out the posterior",
        "nlf_jax/models/base.py",
        " + log_det - posterior.log_prob_at(noise)",
        " + log_det",
        LATENTS,
    ),
    Mutation(
        "a Gaussian has its variance for its standard deviation",
        "nlf_jax/models/base.py",
        "jnp.exp(0.5 * self.log_variance)",
        "jnp.exp(self.log_variance)",
        OBJECTIVES,
    ),
    Mutation(
        "NLSq's log_det is of the other direction",
        "nlf_jax/bijectors/scalar.py",
        "return y, -nlsq_inverse_and_log_det(raw, y)[1]",
        "return y, nlsq_inverse_and_log_det(raw, y)[1]",
        SCALAR,
    ),
    Mutation(
        "an affine transform has half its log_det",
        "nlf_jax/bijectors/scalar.py",
        "jnp.exp(-log_b), -log_b",
        "jnp.exp(-log_b), -0.5 * log_b",
        SCALAR,
    ),
    Mutation(
        "a chain's inverse runs forwards",
        "nlf_jax/bijectors/base.py",
        "for bijector, own in reversed(pairs):",
        "for bijector, own in pairs:",
        BIJECTORS,
    ),
    Mutation(
        "a coupling transforms the half that it keeps",
        "nlf_jax/bijectors/coupling.py",
        "parts = (others, given) if self.reverse",
        "parts = (given, others) if self.reverse",
        BIJECTORS,
    ),
    Mutation(
        "a flow across time reads the symbol that it transforms",
        "nlf_jax/bijectors/recurrent.py",
        "self.inputs(z[:-1])",
        "self.inputs(z[1:])",
        BIJECTORS,
    ),
    Mutation(
        "MADE's hidden units see their own output",
        "nlf_jax/nn/mlp.py",
        "np.arange(units) % size",
        "1 + np.arange(units) % size",
        ("tests/nn/test_mlp.py",),
    ),
    Mutation(
        "the gated recurrence adds its candidate ungated",
        "nlf_jax/nn/gated.py",
        "return gate, gate * candidate",
        "return gate, candidate",
        ("tests/nn/test_gated.py",),
    ),
    Mutation(
        "the tangent of the recurrence forgets the decay's",
        "nlf_jax/nn/gated.py",
        "_run(decay, decay_dot * jnp.concatenate(previous) + update_dot, reverse)",
        "_run(decay, update_dot, reverse)",
        ("tests/nn/test_gated.py",),
    ),
    Mutation(
        "the LSTM's dropout is not rescaled",
        "nlf_jax/nn/lstm.py",
        "kept.astype(jnp.float32) / (1.0 - rate)",
        "kept.astype(jnp.float32)",
        ("tests/nn/test_lstm.py",),
    ),
    Mutation(
        "scoring uses one key for every batch",
        "nlf_jax/training/evaluate.py",
        "jax.random.fold_in(key, number)",
        "jax.random.fold_in(key, 0)",
        EVALUATE,
    ),
    Mutation(
        "scores are divided by T",
        "nlf_jax/training/evaluate.py",
        "self.lengths + 1, self.lengths",
        "self.lengths, self.lengths",
        EVALUATE,
    ),
    Mutation(
        "ELBO and NLL share their noise",
        "nlf_jax/training/evaluate.py",
        "for each in jax.random.split(key)]",
        "for each in (key, key)]",
        EVALUATE,
    ),
    Mutation(
        "filler rows are scored",
        "nlf_jax/training/evaluate.py",
        "[lengths > 0 for lengths",
        "[lengths >= 0 for lengths",
        EVALUATE,
    ),
    Mutation(
        "a step goes up the gradient",
        "nlf_jax/training/state.py",
        "optax.tree.scale(-learning_rate, directions)",
        "optax.tree.scale(learning_rate, directions)",
        STATE + LOOP,
    ),
    Mutation(
        "every step has the same noise",
        "nlf_jax/training/state.py",
        "jax.random.fold_in(state.key, state.step)",
        "jax.random.fold_in(state.key, 0)",
        STATE,
    ),
    Mutation(
        "an infinite gradient is applied",
        "nlf_jax/training/state.py",
        'jnp.isfinite(sums["loss"]) & jnp.isfinite(grad_norm)',
        'jnp.isfinite(sums["loss"])',
        STATE,
    ),
    Mutation(
        "skipped steps in a row are never forgotten",
        "nlf_jax/training/state.py",
        "jnp.where(finite, 0, state.skipped_in_a_row + 1)",
        "state.skipped_in_a_row + ~finite",
        STATE,
    ),
    Mutation(
        "the average of weights starts too slowly",
        "nlf_jax/training/state.py",
        "(1.0 + number) / (10.0 + number)",
        "(9.0 + number) / (10.0 + number)",
        STATE,
    ),
    Mutation(
        "the plateau waits an epoch longer",
        "nlf_jax/training/schedules.py",
        "plateau.bad_epochs + 1 < patience",
        "plateau.bad_epochs < patience",
        SCHEDULES,
    ),
    Mutation(
        "the cosine ends halfway",
        "nlf_jax/training/schedules.py",
        "math.cos(math.pi * min(progress, 1.0))",
        "math.cos(0.5 * math.pi * min(progress, 1.0))",
        SCHEDULES,
    ),
    Mutation(
        "the KL weight rises from the start",
        "nlf_jax/training/schedules.py",
        "(epoch - zero_epochs) / ramp_epochs",
        "epoch / ramp_epochs",
        SCHEDULES,
    ),
    Mutation(
        "a resumed run starts its data anew",
        "nlf_jax/training/loop.py",
        'self._batches.set_state(restored.meta["data"])',
        "pass",
        LOOP,
    ),
    Mutation(
        "a resumed run forgets its best and its plateau",
        "nlf_jax/training/loop.py",
        'self.host = HostState.from_json(restored.meta["host"])',
        "pass",
        LOOP,
    ),
    Mutation(
        "a sequence as long as a bucket goes to the next one",
        "nlf_jax/data/batching.py",
        "np.searchsorted(buckets, lengths)",
        'np.searchsorted(buckets, lengths, side="right")',
        BATCHING,
    ),
    Mutation(
        "all buckets are shuffled alike in every run",
        "nlf_jax/data/batching.py",
        ".shuffle(seed=bucket_seed)",
        ".shuffle(seed=0)",
        BATCHING,
    ),
    Mutation(
        "the length prior is always smoothed",
        "nlf_jax/data/lengths.py",
        "+ int(smoothing)",
        "+ 1",
        ("tests/data/test_lengths.py",),
    ),
    Mutation(
        "two processes train in one workdir",
        "nlf_jax/training/workdir.py",
        "fcntl.LOCK_EX",
        "fcntl.LOCK_SH",
        WORKDIR,
    ),
    Mutation(
        "a run goes on with another learning rate",
        "nlf_jax/training/workdir.py",
        '{"num_epochs", "log_every"',
        '{"num_epochs", "learning_rate", "log_every"',
        WORKDIR,
    ),
    Mutation(
        "a link out of the workdir is followed",
        "nlf_jax/training/workdir.py",
        "if not any(target.is_relative_to(each) for each in allowed):",
        "if False:",
        WORKDIR,
    ),
    Mutation(
        "a damaged checkpoint is taken for whole",
        "nlf_jax/training/checkpoint_reading.py",
        "if value != digests[item]",
        "if False",
        CHECKPOINTS,
    ),
    Mutation(
        "the newest model is loaded, not the best",
        "nlf_jax/training/checkpoints.py",
        "key=lambda step: (step == best, step)",
        "key=lambda step: step",
        CHECKPOINTS,
    ),
    Mutation(
        "those who write a file at once share a temporary one",
        "nlf_jax/files.py",
        ".{secrets.token_hex(8)}.tmp",
        ".tmp",
        ("tests/test_files.py",),
    ),
)
