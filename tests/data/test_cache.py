import fcntl
import socket
import threading
import time

import pytest
import requests

from nlf_jax.data import cache
from nlf_jax.errors import UserError


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="ReadTimeout"):
            cache._check_reachable(url, "", seconds=0.4)


def test_a_name_look_up_that_hangs_is_given_up(monkeypatch):
    release = threading.Event()

    def head(*_, **__):
        release.wait(60)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    start = time.monotonic()
    with pytest.raises(UserError, match="no answer within"):
        cache._check_reachable("http://example.invalid", "", seconds=0.2)
    release.set()
    assert time.monotonic() - start < 10


def _try_to_lock(path):
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path))
    with cache.locked_cache(), pytest.raises(BlockingIOError):
        _try_to_lock(tmp_path / "lock")
    _try_to_lock(tmp_path / "lock")
