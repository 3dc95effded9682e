"""A real Prefect server on loopback, for tests and measurements."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.request import ProxyHandler, Request, build_opener

START = 180.0  # seconds it may take to come up


class Served(NamedTuple):
    """A server that is up: its API, its process, and what somebody's environment says who uses it."""

    api: str
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def ask(self, page: str, body: object = None) -> Any:  # noqa: ANN401  # whatever JSON it answers
        """A page of the API; with a body, by POST."""
        request = Request(f"{self.api}/{page}", json.dumps(body).encode() if body is not None else None)
        request.add_header("Content-Type", "application/json")
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def serving(more: Mapping[str, str] = MappingProxyType({})) -> Iterator[Served]:
    """Start it with a home of its own, as docs/schedules.md does; it is gone in the end, even where it was frozen."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    folder, api = Path(tempfile.mkdtemp(prefix="prefect-")), f"http://127.0.0.1:{port}/api"
    given = {"PREFECT_HOME": str(folder)}
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env={**os.environ, **more, **given, **quiet}, stdout=null, stderr=null, start_new_session=True
    )
    served = Served(api, process, {**given, "PREFECT_API_URL": api})
    try:
        _up(served)
        yield served
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _up(served: Served) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and served.process.poll() is None:
        try:
            served.ask("health")
        except OSError:  # urllib's own errors are among them
            time.sleep(0.3)
        else:
            return
    raise RuntimeError("the Prefect server did not come up")
