"""The training state on the device, and the compiled training step."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, PyTree

from nlf_jax import objectives
from nlf_jax.mesh import ROWS, WHOLE, make_mesh, over_rows, replicated, sum_over
from nlf_jax.models.sequence_model import SequenceModel


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step changes; all leaves are arrays.

    Attributes:
        model: the network that is scored, and its length prior, which is not trained.
        raw: the network that is trained, where the scored one is an average of it; else None.
        opt_state: of the optimiser.
        step: batches seen, skipped ones included.
        key: of the run; step n uses fold_in(key, n).
        skipped: steps skipped so far because the loss or the gradient was not finite.
        skipped_in_a_row: of them, those since the last good step.
    """

    model: SequenceModel
    raw: Any
    opt_state: PyTree
    step: Int[Array, ""]
    key: PRNGKeyArray
    skipped: Int[Array, ""]
    skipped_in_a_row: Int[Array, ""]


class StepMetrics(NamedTuple):
    """Scalars of one step, left on the device.

    Attributes:
        loss: the training loss, in nats per symbol.
        nats: minus the ELBO at KL weight 1, summed over the batch.
        kl: summed over the batch, unweighted.
        reconstruction: minus log p(x|z), summed over the batch.
        tokens: sum of T + 1.
        grad_norm: before clipping.
        skipped: the step changed nothing, for a loss or gradient that is not finite.
        skipped_in_a_row: with this step.
    """

    loss: Float[Array, ""]
    nats: Float[Array, ""]
    kl: Float[Array, ""]
    reconstruction: Float[Array, ""]
    tokens: Int[Array, ""]
    grad_norm: Float[Array, ""]
    skipped: Bool[Array, ""]
    skipped_in_a_row: Int[Array, ""]


class Updates(NamedTuple):
    """How gradients are used.

    Attributes:
        optimizer: "adam" or "sgd".
        grad_clip: gradients are scaled down to this global norm first.
        accumulate: n: each n-th step uses the mean of the last n gradients, the others do nothing
            (but see ``make_use_of_rest``).
        adam_b2: decay of Adam's mean square.
        weight_decay: decoupled (Loshchilov & Hutter, 2019), of arrays of two or more axes.
        average: decay of the average of the network that is scored; 0 scores the network itself. It
            rises to this as (1 + n) / (10 + n) with the steps n.
    """

    optimizer: str = "adam"
    grad_clip: float = 1.0
    accumulate: int = 1
    adam_b2: float = 0.999
    weight_decay: float = 0.0
    average: float = 0.0


def make_optimizer(updates: Updates) -> optax.GradientTransformation:
    """Clipping, then Adam or plain SGD, then weight decay.

    The learning rate is not part of it: the step multiplies the direction by it.
    """
    adam = updates.optimizer == "adam"
    direction = optax.scale_by_adam(b2=updates.adam_b2) if adam else optax.identity()
    parts = [optax.clip_by_global_norm(updates.grad_clip), direction]
    if updates.weight_decay > 0.0:
        parts.append(optax.add_decayed_weights(updates.weight_decay, _is_matrix))
    chain = optax.chain(*parts)
    if updates.accumulate == 1:
        return chain
    return optax.MultiSteps(chain, updates.accumulate).gradient_transformation()


def _is_matrix(network: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, network)


def init_optimizer(optimizer: optax.GradientTransformation, network: Any) -> PyTree:
    """The optimiser's state before its first update of a network."""
    return optimizer.init(network)


def create_state(model: SequenceModel, updates: Updates, key: PRNGKeyArray) -> TrainState:
    """The state before the first step."""
    return TrainState(
        model=model,
        raw=jax.tree.map(jnp.copy, model.network) if updates.average > 0.0 else None,
        opt_state=init_optimizer(make_optimizer(updates), model.network),
        step=jnp.zeros((), jnp.int32),
        key=key,
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
    )


@cache
def make_train_step(
    updates: Updates, num_samples: int, mesh: Mesh | None = None
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """The compiled step ``(state, x, lengths, learning_rate, kl_weight) -> (state, metrics)``.

    The state passed in is donated: use the one returned. It compiles once for every shape of x,
    and once for all runs of a process with the same settings.
    A step whose loss or gradient norm is not finite leaves the parameters and the optimiser as
    they were; only ``step`` and the counters move.
    With a mesh, x and lengths may be split over it, and what is returned is on all its devices.
    """
    transformation = make_optimizer(updates)
    mesh = mesh or make_mesh(1)
    by_rows = over_rows(
        partial(_loss_and_gradient, num_samples=num_samples, mesh=mesh),
        mesh,
        (ROWS, ROWS, ROWS, WHOLE, WHOLE),
        WHOLE,
    )

    def train_step(state: TrainState, x, lengths, learning_rate, kl_weight):
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), len(lengths))
        trained = state.model.replace(network=_trained(state))
        sums, grads = by_rows(x, lengths, keys, trained, kl_weight)
        grad_norm = optax.tree.norm(grads)
        finite = jnp.isfinite(sums["loss"]) & jnp.isfinite(grad_norm)
        updated = _apply(transformation, state, grads, learning_rate, finite)
        new_state = _advance(state, updated, finite, updates.average)
        skipped = {"skipped": ~finite, "skipped_in_a_row": new_state.skipped_in_a_row}
        return new_state, StepMetrics(**sums, grad_norm=grad_norm, **skipped)

    return jax.jit(train_step, donate_argnums=0, out_shardings=replicated(mesh))


@cache
def make_use_of_rest(
    updates: Updates, mesh: Mesh | None = None
) -> Callable[[TrainState, ArrayLike], TrainState]:
    """The compiled update ``(state, learning_rate) -> state`` by gradients that wait for others.

    At the end of an epoch fewer than ``accumulate`` may have come since the last update; their mean
    is used. The state passed in is donated. Without any it is as it was.
    """
    optimizer = make_optimizer(updates._replace(accumulate=1))

    def use_rest(state: TrainState, learning_rate) -> TrainState:
        trained, waiting = _trained(state), state.opt_state

        def update():
            grads, inner = waiting.acc_grads, waiting.inner_opt_state
            network, inner = _updated(optimizer, grads, inner, trained, learning_rate)
            return network, waiting._replace(
                mini_step=jnp.zeros_like(waiting.mini_step),
                gradient_step=waiting.gradient_step + 1,
                inner_opt_state=inner,
                acc_grads=optax.tree.zeros_like(grads),
            )

        there_are = waiting.mini_step > 0
        updated = jax.lax.cond(there_are, update, lambda: (trained, waiting))
        return _with_updated(state, updated, there_are, updates.average)

    return jax.jit(use_rest, donate_argnums=0, out_shardings=replicated(mesh or make_mesh(1)))


def _loss_and_gradient(
    x, lengths, keys, model: SequenceModel, kl_weight, *, num_samples: int, mesh: Mesh
):
    """The sums of ``StepMetrics`` and the gradient, of all devices' rows together."""
    num_rows = sum_over(mesh, (lengths > 0).sum())

    def loss_fn(network):
        return objectives.training_loss(
            model.replace(network=network), x, lengths, keys,
            num_samples=num_samples, kl_weight=kl_weight, num_rows=num_rows,
        )  # fmt: skip

    (loss, elbo), grads = jax.value_and_grad(loss_fn, has_aux=True)(model.network)
    return sum_over(mesh, (_sums(loss, elbo, lengths), grads))


def _apply(optimizer, state: TrainState, grads, learning_rate, finite) -> tuple[PyTree, PyTree]:
    """Network and optimiser state after an ordinary update, or as they were unless ``finite``."""
    trained = _trained(state)

    def update():
        return _updated(optimizer, grads, state.opt_state, trained, learning_rate)

    return jax.lax.cond(finite, update, lambda: (trained, state.opt_state))


def _updated(optimizer, grads, opt_state, trained, learning_rate) -> tuple[PyTree, PyTree]:
    directions, opt_state = optimizer.update(grads, opt_state, trained)
    return optax.apply_updates(trained, optax.tree.scale(-learning_rate, directions)), opt_state


def _trained(state: TrainState) -> PyTree:
    return state.model.network if state.raw is None else state.raw


def _averaged(state: TrainState, network: PyTree, finite, decay: float) -> PyTree:
    """The average moved towards a network that an update gave."""
    number = state.step.astype(jnp.float32)
    share = jnp.where(finite, 1.0 - jnp.minimum(decay, (1.0 + number) / (10.0 + number)), 0.0)
    return jax.tree.map(lambda a, p: a + share * (p - a), state.model.network, network)


def _advance(state: TrainState, updated: tuple[PyTree, PyTree], finite, decay: float) -> TrainState:
    """The next state, its counters moved."""
    return _with_updated(state, updated, finite, decay).replace(
        step=state.step + 1,
        skipped=state.skipped + ~finite,
        skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
    )


def _with_updated(state: TrainState, updated: tuple[PyTree, PyTree], moved, decay: float):
    """The state with network and optimiser state after an update, if it ``moved`` them."""
    network, opt_state = updated
    raw = None if state.raw is None else network
    scored = network if raw is None else _averaged(state, network, moved, decay)
    return state.replace(model=state.model.replace(network=scored), raw=raw, opt_state=opt_state)


def _sums(loss, elbo, lengths) -> dict[str, Array]:
    full_elbo = elbo.reconstruction - elbo.kl + elbo.length_log_prob
    return {
        "loss": loss,
        "nats": -jnp.sum(full_elbo),
        "kl": jnp.sum(elbo.kl),
        "reconstruction": -jnp.sum(elbo.reconstruction),
        "tokens": jnp.sum(jnp.where(lengths > 0, lengths + 1, 0)),
    }
