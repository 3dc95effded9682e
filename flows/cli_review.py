"""The command that opens the review pages: Streamlit as a child, on this machine only."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from typing import Annotated

import typer

from flows.terminal import HOME, Home, open_store, say
from seedbed.surroundings import APART, environment, python

ADDRESS = "127.0.0.1"
_PATIENCE, _GRACE = 60.0, 3.0  # seconds for Streamlit to answer, and to end


def review(
    home: Home = HOME,
    port: Annotated[int, typer.Option(help="Where on this machine the pages are.", min=1, max=65535)] = 8501,
    reviewer: Annotated[
        str, typer.Option(envvar="SEEDBED_REVIEWER", help="Your name, stored with every review; else the page asks.")
    ] = "",
) -> None:
    """Serve the review pages (review, explore, coverage, runs, publish) and print their address. Ctrl-C ends them."""
    open_store(home).close()
    _check_free(port)
    given = environment(SEEDBED_HOME=str(home.absolute()), SEEDBED_REVIEWER=reviewer)
    command = python("-m", "ui.serve", str(port))
    # In a folder of ours, for Streamlit reads settings where it stands; and it ends when our end of the pipe closes.
    with subprocess.Popen(command, env=given, cwd=APART, stdin=subprocess.PIPE, stdout=sys.stderr) as child:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
        try:
            if _answers(child, port):
                say(f"Review at http://{ADDRESS}:{port}  (store {home}; Ctrl-C ends it)")
            raise typer.Exit(child.wait() and 1)
        except KeyboardInterrupt:
            _end(child)
            say("Ended. Every recorded review is stored.", err=True)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Streamlit waits for ever for a browser that does not let go; what a page calls recorded is stored by then."""
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _check_free(port: int) -> None:
    from seedbed.errors import InputError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise InputError(
                f"port {port} is taken: if that is another `seedbed review`, open http://{ADDRESS}:{port}; "
                f"else name another one, such as --port {port + 1}"
            ) from error


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the pages are there, without going through a proxy."""
    from urllib.request import ProxyHandler, build_opener

    opener, begun = build_opener(ProxyHandler({})), time.monotonic()
    while child.poll() is None and time.monotonic() < begun + _PATIENCE:
        try:
            with opener.open(f"http://{ADDRESS}:{port}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return True
        except OSError:  # urllib's own errors are among them
            time.sleep(0.1)
    return False
