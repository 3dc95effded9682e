"""Ports for servers that a test starts by command, where the kernel cannot be left to choose."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """One that nobody listens on, below those that the kernel hands out: nobody else gets it before it is used."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
