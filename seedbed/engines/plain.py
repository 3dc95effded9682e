"""The plainest of answers, read without a parser: a status, a length, a body. aiohttp reads all others.

Most answers of a model's server are so, and need no parser, reader and header objects built for each
(benchmarks/overhead.py shows the price). Nothing is lost by looking first: what is not plain, or not whole when the
connection ends, is handed to aiohttp byte for byte.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from aiohttp.client_proto import ResponseHandler

_HEAD = re.compile(rb"HTTP/1\.1 (2\d\d)(?: [^\r\n]*)?\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)+)\r\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,10})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_ODD = re.compile(
    rb"^(?:(?:transfer-encoding|content-encoding|upgrade|trailer):|connection:(?![ \t]*keep-alive[ \t]*\r$))",
    re.IGNORECASE | re.MULTILINE,
)
_BARE = re.compile(rb"(?<!\r)\n")  # some servers end lines so, and never send what is waited for
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_LONGEST_HEAD = 1 << 14


class Answer(NamedTuple):
    """A response, read whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Reader(asyncio.Protocol):
    """What a transport tells, read here where it is plain, and by aiohttp's handler where it is not."""

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler
        self._waiter: asyncio.Future[Answer | None] | None = None
        self._held, self._begins, self._ends, self._most = bytearray(), 0, 0, 0

    def answer(self, most: int, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Answer | None]:
        """The next answer, of at most `most` bytes; None where the handler has to be asked for it."""
        self._held, self._begins, self._ends, self._most = bytearray(), 0, 0, most
        self._waiter = loop.create_future()
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """Keep it until an answer is whole, or hand everything over."""
        if self._waiter is None:
            return self._handler.data_received(data)
        self._held += data
        if not self._ends and not self._looked():
            return None
        if len(self._held) > self._ends:
            return self._hand_over()
        if len(self._held) == self._ends:
            self._settle(Answer(int(self._held[9:12]), _NO_HEADERS, bytes(self._held[self._begins :])))
        return None

    def _looked(self) -> bool:
        """Whether the head is there, and so where the body begins and ends; what is not plain ends before it does."""
        head = _HEAD.match(self._held)
        if head is None:
            waits = b"HTTP/1.1 2".startswith(self._held[:10]) and b"\r\n\r\n" not in self._held
            if waits and len(self._held) < _LONGEST_HEAD and not _BARE.search(self._held):
                return False
            self._ends = -1
            return True
        lengths = _LENGTH.findall(head[2])
        plain = len(lengths) == 1 and not _ODD.search(head[2]) and int(lengths[0]) <= self._most
        self._begins, self._ends = head.end(), head.end() + int(lengths[0]) if plain else -1
        return True

    def _hand_over(self) -> None:
        """What has come so far is the handler's to read, and all that follows."""
        held, self._held = bytes(self._held), bytearray()
        self._handler.set_response_params(read_until_eof=True)
        self._settle(None)
        if held:
            self._handler.data_received(held)

    def _settle(self, answer: Answer | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The handler says what that means for who waits."""
        if self._waiter is not None:
            self._hand_over()
        self._handler.connection_lost(exc)

    def eof_received(self) -> None:
        """No more is sent; the transport closes itself."""
        self._handler.eof_received()

    def pause_writing(self) -> None:
        """The server reads more slowly than is written."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._handler.resume_writing()
