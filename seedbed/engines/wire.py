"""Requests over aiohttp's connections, without its layer of request and response objects.

Connecting, proxies, TLS, name lookup and the reading of all but the plainest answers (`plain.py`) are aiohttp's. What
`ClientSession` builds around each request (headers merged, cookies, redirects, a task that writes) costs more than all
of these together, and a chat call needs none of it: its head is the same each time but for one number.
benchmarks/overhead.py shows the price.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from aiohttp.streams import EofStream
from yarl import URL

from seedbed.engines.connection import DIRECT, Route
from seedbed.engines.plain import Answer, Reader

ANSWER_BYTES = 16 << 20  # of a body, unpacked; an answer of 100,000 tokens has half a megabyte
IDLE = 15.0  # seconds after which a connection is not trusted any more: servers close such without a word
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, ceil_threshold=math.inf)  # the whole exchange has its own


class TooLarge(Exception):
    """A body of more bytes than anything that was asked for can have."""


@dataclass(slots=True)
class _Open:
    """A connection that is ours until it is closed."""

    connection: aiohttp.connector.Connection
    transport: asyncio.Transport
    handler: ResponseHandler
    reader: Reader
    since: float = 0.0  # it has been idle, by the loop's clock


class Wire:
    """Kept-alive connections to the server of `base`; to be made and closed inside an event loop."""

    def __init__(self, base: URL, headers: Mapping[str, str], way: Route = DIRECT) -> None:
        self._connector = aiohttp.TCPConnector(limit=0)  # whoever asks bounds the exchanges
        # Only for the connector, which asks it where to connect and whether by TLS.
        self._target = aiohttp.ClientRequest(
            "POST", base, loop=asyncio.get_running_loop(), proxy=way.proxy, proxy_auth=way.login, ssl=way.tls
        )
        self._path, self._query = base.raw_path.rstrip("/"), f"?{base.raw_query_string}" if base.query_string else ""
        fixed = {"Host": self._target.headers["Host"], "Accept": "*/*", **headers}
        if way.proxy and base.scheme == "http":  # a proxy reads the whole address, and its own login
            self._path = f"{base.origin()}{self._path}"
            fixed |= {"Proxy-Authorization": way.login.encode()} if way.login else {}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._heads: dict[tuple[str, str], bytes] = {}
        self._loop, self._deadlines = asyncio.get_running_loop(), _Deadlines()
        self._outbox: list[tuple[asyncio.Transport, bytes]] = []
        self._idle: deque[_Open] = deque()

    async def close(self) -> None:
        """Let go of all connections."""
        while self._idle:
            self._idle.pop().connection.close()
        await self._connector.close()

    async def exchange(
        self,
        method: str,
        page: str,
        body: bytes,
        seconds: float,
        kind: str = "application/json",
        most: int = ANSWER_BYTES,
    ) -> Answer:
        """Send one request, whose body is of this `kind`, to `base`/`page` and read its answer whole.

        Redirects are not followed.

        Raises:
            TimeoutError: no whole answer within `seconds`, connecting included.
            TooLarge: the answer has more than `most` bytes.
            aiohttp.ClientError, OSError: no connection, or it broke, or what came back is no HTTP.
        """
        head = self._heads.get((method, page)) or self._head(method, page, kind)
        task = self._deadlines.begin(seconds)
        try:
            found = self._kept() or await self._opened()
            try:
                self._send(found.transport, b"%b%d\r\n\r\n%b" % (head, len(body), body))
                plain = await found.reader.answer(min(most, ANSWER_BYTES), self._loop)
                answer = plain or await _by_handler(found.handler, most)
                self._keep(found)
                return answer
            except BaseException:
                found.connection.close()
                raise
        except (HttpProcessingError, EofStream) as error:
            raise aiohttp.ClientPayloadError(f"no HTTP came back: {error}") from error
        except asyncio.CancelledError as error:
            if self._deadlines.missed(task):
                raise TimeoutError from error
            raise
        finally:
            self._deadlines.end(task)

    def _keep(self, found: _Open) -> None:
        if self._connector.closed:
            found.connection.close()
        else:
            found.since = self._loop.time()
            self._idle.append(found)

    def _kept(self) -> _Open | None:
        """The latest connection that is open still, and has nothing to say that nobody asked for; old ones go."""
        oldest = self._loop.time() - IDLE
        while self._idle and self._idle[0].since < oldest:
            self._idle.popleft().connection.close()
        while self._idle:
            found = self._idle.pop()
            if not found.transport.is_closing() and not found.handler.should_close:
                return found
            found.connection.close()
        return None

    async def _opened(self) -> _Open:
        connection = await self._connector.connect(self._target, [], _NO_TIMEOUT)
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        reader = Reader(handler)
        transport.set_protocol(reader)
        if handler.should_close:
            connection.close()
            raise aiohttp.ClientPayloadError("it spoke before it was asked")
        return _Open(connection, transport, handler, reader)

    def _send(self, transport: asyncio.Transport, request: bytes) -> None:
        """Write it with all others of this turn of the event loop, which costs half: a server is woken once."""
        if not self._outbox:
            self._loop.call_soon(self._send_all)
        self._outbox.append((transport, request))

    def _send_all(self) -> None:
        outbox, self._outbox = self._outbox, []
        for transport, request in outbox:
            if not transport.is_closing():
                transport.write(request)

    def _head(self, method: str, page: str, kind: str) -> bytes:
        """Everything before the body's length; a page always gets the same kind of body."""
        query = f"&{self._query[1:]}" if "?" in page and self._query else self._query
        line = f"{method} {self._path}/{page}{query} HTTP/1.1\r\n"
        head = f"{line}{self._fixed}Content-Type: {kind}\r\nContent-Length: ".encode("ascii")
        self._heads[method, page] = head
        return head


async def _by_handler(handler: ResponseHandler, most: int) -> Answer:
    """An answer that is not plain, unpacked and put together by aiohttp. Raises TooLarge."""
    message, payload = await handler.read()
    while message.code < 200:  # "continue" and the like come before the answer
        message, payload = await handler.read()
    parts, size = list[bytes](), 0
    while part := await payload.readany():
        size += len(part)
        if size > most:
            raise TooLarge(f"more than {most:,} bytes")
        parts.append(part)
    return Answer(message.code, message.headers, b"".join(parts))


class _Deadlines:
    """What `asyncio.timeout` does, with one timer for all: one for each would cost a tenth of an exchange."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[asyncio.Task[object], float] = {}
        self._missed: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> asyncio.Task[object]:
        """The current task, which is cancelled in so many seconds unless it comes to `end` before."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("an exchange needs a task to run in")
        due = self._due[task] = self._loop.time() + seconds
        if self._timer is None or due < self._timer.when():
            self._set_timer(due)
        return task

    def missed(self, task: asyncio.Task[object]) -> bool:
        """Whether this task was cancelled for its deadline, and for nothing else."""
        return task in self._missed and not task.uncancel()

    def end(self, task: asyncio.Task[object]) -> None:
        """The task needs no deadline any more."""
        self._due.pop(task, None)
        self._missed.discard(task)

    def _set_timer(self, due: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        now, self._timer = self._loop.time(), None
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            self._missed.add(task)
            task.cancel()
        if self._due:
            self._set_timer(min(self._due.values()))
