"""Several processes, one on each host, that run the same program on the devices of all.

Every process makes the same batches and holds the same state; process 0 alone reads and writes the
workdir. With one process nothing here communicates.
"""

import concurrent.futures
import functools
import itertools
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from nlf_jax.errors import UserError
from nlf_jax.training.arrays import digest_json, from_arrays, to_arrays

# How long processes wait for each other at the start, and at the end after `meet`: then it is
# reached by all together, unless one has failed.
CONNECT_SECONDS, END_SECONDS = 300, 60
# The processes talk about stopping only so often, because the devices wait meanwhile.
QUESTIONS_TO_AN_ANSWER = 10
AUTOMATIC = "auto"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the other processes; does nothing without a coordinator.

    Must come before anything that uses a device.

    Args:
        coordinator: host:port at which process 0 can be reached, or "auto" where JAX finds out all
            three by itself (Cloud TPU, SLURM, Open MPI).
        num_processes: how many.
        process_id: of this process, from 0.

    Raises:
        UserError: the arguments don't go together, or the others did not come in time.
    """
    _check(coordinator, num_processes, process_id)
    if coordinator is None:
        return
    # JAX's own service for preemption takes SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    address = None if coordinator == AUTOMATIC else coordinator
    try:
        _in_time(lambda: _initialize(address, num_processes, process_id))
    except TimeoutError as error:
        raise UserError(
            f"the processes did not all meet at --coordinator={coordinator} in {CONNECT_SECONDS} "
            "seconds: start all of them, and let each reach that port of process 0."
        ) from error
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot join the other processes ({error}): give each --coordinator=host:port, "
            "--num_processes=N and --process_id=0 to N - 1."
        ) from error


def is_primary() -> bool:
    """Whether this is process 0, which alone reads and writes files."""
    return jax.process_index() == 0


def primary_only(function: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The function in process 0; nothing in the others."""

    @functools.wraps(function)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if is_primary():
            function(*args, **kwargs)

    return wrapped


def on_primary(action: Callable[[], Result]) -> Result:
    """What the action gives in process 0, a JSON value, in every process; the others wait for it.

    Raises:
        UserError: the action raised it, or an OSError; in every process.
    """
    if jax.process_count() == 1:
        return action()
    value, problem = _broadcast_json(_outcome(action) if is_primary() else None)
    if problem is not None:
        raise UserError(problem)
    return value


def broadcast(tree: PyTree) -> PyTree:
    """The arrays of process 0 in every process; the trees must have the same structure."""
    if jax.process_count() == 1:
        return tree
    return from_arrays(tree, multihost_utils.broadcast_one_to_all(to_arrays(tree)))


def require_same(value: Any, problem: str) -> None:
    """Raises a UserError in every process unless a JSON value is the same in all."""
    if jax.process_count() == 1:
        return
    try:
        multihost_utils.assert_equal(np.frombuffer(bytes.fromhex(digest_json(value)), np.uint8))
    except AssertionError as error:
        raise UserError(problem) from error


def meet() -> None:
    """Waits until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("meet")


def agreed(should_stop: Callable[[], bool]) -> Callable[[], bool]:
    """A question that all processes ask equally often and that all answer in the same way.

    Yes soon after ``should_stop`` became true in one of them, and from then on.
    """
    if jax.process_count() == 1:
        return should_stop
    questions, stopped = itertools.count(), False

    def ask() -> bool:
        nonlocal stopped
        if not stopped and next(questions) % QUESTIONS_TO_AN_ANSWER == 0:
            answers = multihost_utils.process_allgather(np.array(should_stop()))
            stopped = bool(answers.any())
        return stopped

    return ask


def _check(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    given = [value for value in (num_processes, process_id) if value is not None]
    if coordinator in (None, AUTOMATIC):
        if given:
            raise UserError("--num_processes and --process_id need --coordinator=host:port.")
        return
    if num_processes is None or process_id is None:
        raise UserError(f"--coordinator={coordinator} needs --num_processes and --process_id too.")
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id must be from 0 to --num_processes - 1 = {num_processes - 1}, "
            f"got {process_id}."
        )
    port = coordinator.rpartition(":")[2]
    if ":" not in coordinator or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator must be host:port or {AUTOMATIC}, got {coordinator!r}.")
    if process_id == 0:
        _require_free(int(port))


def _require_free(port: int) -> None:
    """JAX crashes if it cannot have the port."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen at port {port} ({error.strerror}): give all processes a "
            "--coordinator with another one."
        ) from error


def _initialize(address: str | None, num_processes: int | None, process_id: int | None) -> None:
    jax.distributed.initialize(
        address,
        num_processes,
        process_id,
        # JAX aborts the process at its own limit.
        initialization_timeout=2 * CONNECT_SECONDS,
        shutdown_timeout_seconds=END_SECONDS,
    )


def _in_time(action: Callable[[], None]) -> None:
    """Runs an action that may last too long in a thread, which is then left behind."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(action())
        except Exception as error:  # Told by the thread that waits.
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    future.result(CONNECT_SECONDS)


def _outcome(action: Callable[[], Any]) -> tuple[Any, str | None]:
    """The action's value, or what went wrong."""
    try:
        return action(), None
    except (UserError, OSError) as error:
        return None, str(error)


def _broadcast_json(value: Any) -> Any:
    """The JSON value of process 0 in every process."""
    text = json.dumps(value).encode() if is_primary() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    data = np.frombuffer(text or bytes(size), np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(data).tobytes())
