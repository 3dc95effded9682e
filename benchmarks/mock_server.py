"""A scripted OpenAI-compatible server, so cheap that it limits nobody: for benchmarks and for tests.

    python benchmarks/mock_server.py --port 0 --latency-ms 5 --status 500 --fault-every 10

An answer is a function of the request's bytes alone, so that two runs can be compared byte by byte; what
goes wrong is said by flags. In tests: `with running(latency_ms=5) as base_url`.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from hashlib import blake2b
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, cast

import orjson


def words(text: str, mark: str | None = None) -> list[str]:
    """The words of a text, or its phrases between marks."""
    return [" ".join(word.split()) for word in text.split(mark)]


OPENINGS = """In practice|On most days|After the review|By early spring|In a quiet office|For new readers|
As a rule|Near the old harbour|During the second week|Under careful guidance|Without much noise|
In the northern branch|At the end of a shift|Since the last audit|With a little patience|Before the deadline"""
ENDS = """before the evening begins|without asking for help|because the budget is small|
when the weather turns|so that nobody has to wait|after three short meetings|in order to save time|
while others prepare the report|although the rules are strict|with surprising accuracy|
until the numbers agree|as the manual suggests|despite a missing page|if the supplier answers|
for the benefit of visitors|whenever two sources differ"""
OPENERS, ENDINGS = words(OPENINGS, "|"), words(ENDS, "|")
ADJECTIVES = words("""patient careful modern quiet regional honest practical curious seasonal narrow
reliable gentle early formal local simple bright cautious wooden foreign steady digital humble rapid ancient
civic silver coastal thoughtful medical annual musical""")
NOUNS = words("""teacher ledger garden engine library market doctor bridge harvest customer journal
printer committee valley orchestra lantern contract traveller recipe museum courier farmer theorem railway
invoice kitchen planet workshop student harbour protocol forest""")
VERBS = words("""explains compares repairs supports replaces describes measures follows protects
organises questions improves records connects examines translates balances visits delivers designs checks
borrows simplifies gathers reviews observes completes predicts labels restores sorts defends""")

POOR = 38  # verdicts are unfavourable where a hash's first byte is below this: 15 in 100
# Each group of options sums to 0.98 by itself: the server does not know which of them the client will read.
CHOICES = ("1", "2", "3", "4", "5", "yes", "no", "A", "B")
FAVOURABLE = (0.01, 0.02, 0.10, 0.40, 0.45, 0.9, 0.08, 0.88, 0.1)
UNFAVOURABLE = (0.42, 0.40, 0.12, 0.03, 0.01, 0.1, 0.88, 0.1, 0.88)
LOGPROBS = [
    [{"token": token, "logprob": math.log(p)} for token, p in zip(CHOICES, chances, strict=True)]
    for chances in (FAVOURABLE, UNFAVOURABLE)
]
FROM_ZERO = [  # where a prompt asks for 0, 1 or 2
    [{"token": str(n), "logprob": math.log(p)} for n, p in enumerate(chances)]
    for chances in ((0.03, 0.15, 0.8), (0.6, 0.3, 0.08))
]


def sentence(dice: bytes) -> str:
    """Some 14 words of sound English from 7 bytes."""
    a, b, c, d, e, f, g = dice
    who, what = f"{ADJECTIVES[b % 32]} {NOUNS[c % 32]}", f"{ADJECTIVES[e % 32]} {NOUNS[f % 32]}"
    return f"{OPENERS[a % 16]}, the {who} {VERBS[d % 32]} every {what} {ENDINGS[g % 16]}."


def prose(seed: bytes, name: str = "") -> str:
    """Two to four sentences, about 25 to 60 words; the last is a question where `name` says so."""
    dice = blake2b(seed + name.encode(), digest_size=32).digest()
    said = " ".join(sentence(dice[7 * i : 7 * i + 7]) for i in range(2 + dice[28] % 3))
    if "question" in name or "instruction" in name:
        said += f" How would you explain the {ADJECTIVES[dice[29] % 32]} {NOUNS[dice[30] % 32]} to me?"
    return said


def fill(shape: dict[str, Any], definitions: dict[str, Any], seed: bytes, name: str) -> object:
    """A value of the given JSON schema; ratings and booleans are mostly favourable."""
    shape = resolve(shape, definitions)
    if known := shape.get("enum") or ([shape["const"]] if "const" in shape else None):
        return known[seed[1] % len(known)]
    match shape.get("type"):
        case "object":
            parts = shape.get("properties", {}).items()
            return {key: fill(sub, definitions, seed, f"{name}.{key}") for key, sub in parts}
        case "array":
            n = max(shape.get("minItems", 1), min(shape.get("maxItems", 3), 1 + seed[2] % 3))
            return [fill(shape.get("items", {}), definitions, seed, f"{name}.{i}") for i in range(n)]
        case "integer" | "number":
            return rating(shape, seed)
        case "boolean":
            return seed[0] >= POOR
    return None if shape.get("type") == "null" else prose(seed, name)[: shape.get("maxLength")]


def resolve(shape: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema behind references and unions, of which the first that is not null."""
    while "$ref" in shape or "anyOf" in shape:
        if "$ref" in shape:
            shape = definitions[shape["$ref"].rsplit("/", 1)[-1]]
        else:
            shape = next((part for part in shape["anyOf"] if part.get("type") != "null"), {"type": "null"})
    return shape


def rating(shape: dict[str, Any], seed: bytes) -> int:
    """A whole number of the range (1 to 5 where none is given), near its top or, if poor, its bottom."""
    low = int(shape.get("minimum", 1))
    high = int(shape.get("maximum", low + 4))
    return min(low + seed[3] % 2, high) if seed[0] < POOR else max(high - seed[3] % 2, low)


def text_of(request: dict[str, Any], seed: bytes, flags: argparse.Namespace) -> str:
    """The words of the answer; `flags` is what should be wrong with them."""
    if flags.empty:
        return ""
    shape = request.get("response_format", {}).get("json_schema", {}).get("schema")
    if shape is None or flags.prose:
        return prose(seed)
    text = orjson.dumps(fill(shape, shape.get("$defs", {}), seed, "")).decode()
    return text[: len(text) // 2] if flags.half_json else text


def completion(body: bytes, seed: bytes, flags: argparse.Namespace) -> bytes:
    """The chat completion for a request's body."""
    request = orjson.loads(body)
    choice: dict[str, object] = {"index": 0, "finish_reason": "stop"}
    if request.get("logprobs"):
        text, odds = "no" if seed[0] < POOR else "yes", FROM_ZERO if b"Say 0 if" in body else LOGPROBS
        choice["logprobs"] = {"content": [{"token": text, "top_logprobs": odds[seed[0] < POOR]}]}
    else:
        text = text_of(request, seed, flags)
    choice["message"] = {"role": "assistant", "content": text}
    asked, said = len(body) // 4, len(text) // 4 + 1
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    model = request.get("model", "mock")
    return orjson.dumps({"id": seed.hex(), "created": 0, "model": model, "choices": [choice], "usage": usage})


def http(status: int, body: bytes, kind: str = "application/json", extra: str = "") -> bytes:
    """A whole HTTP response."""
    head = f"HTTP/1.1 {status} Mock\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Desk:
    """What is counted, and what goes wrong with which request."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags, self.sound = flags, read_flags([])
        self.requests = self.in_flight = self.max_in_flight = 0
        self.seen: Counter[bytes] = Counter()
        self.paid: Counter[bytes] = Counter()  # whole answers handed over, good or bad
        self.free = [0.0] * flags.slots  # when each of the slots will be

    def stats(self) -> bytes:
        """The counts, as /stats shows them."""
        n, unique, most = self.requests, len(self.seen), self.max_in_flight
        counts = {"requests": n, "max_in_flight": most, "unique": unique, "repeated": n - unique}
        paid = self.paid.total()
        return orjson.dumps(counts | {"paid": paid, "paid_twice": paid - len(self.paid)})

    def wait(self, now: float) -> float:
        """Seconds until what comes now is answered; with `slots`, no more than these are worked on at once."""
        latency: float = self.flags.latency_ms / 1000
        if not self.free:
            return latency
        done = max(heappop(self.free), now) + latency
        heappush(self.free, done)
        return done - now

    def chat(self, body: bytes) -> tuple[bytes, bytes | None]:
        """What is paid for, if anything, and the response: b"" closes the connection, None leaves it hanging."""
        seed = blake2b(body, digest_size=16).digest()
        self.requests += 1
        self.seen[seed] += 1
        flags = self.flags if self.faulty(seed) else self.sound
        if flags.hang or flags.drop:
            return b"", None if flags.hang else b""
        if flags.status or flags.html or flags.retry_after is not None or flags.retry_date is not None:
            return b"", self.fault()
        try:
            response = http(200, completion(body, seed, flags))
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            return b"", http(400, orjson.dumps({"error": {"message": f"bad request: {error!r}"}}))
        return b"" if flags.half_body or flags.drip else seed, response

    def faulty(self, seed: bytes) -> bool:
        """Whether this request is one that goes wrong, this time."""
        times = self.flags.fault_times
        chosen = int.from_bytes(seed[4:8]) % self.flags.fault_every == 0
        return chosen and (not times or self.seen[seed] <= times)

    def fault(self) -> bytes:
        """An error status, or a page where JSON was due."""
        if self.flags.html:
            return http(200, b"<html><body><h1>Welcome to the gateway</h1></body></html>", "text/html")
        wait, date = self.flags.retry_after, self.flags.retry_date
        extra = "" if wait is None else f"Retry-After: {wait:g}\r\n"
        if date is not None:  # a date has no fractions: the next whole second
            extra = f"Retry-After: {formatdate(math.ceil(time.time() + date), usegmt=True)}\r\n"
        return http(self.flags.status or 429, b'{"error": {"message": "scripted fault"}}', extra=extra)


class Connection(asyncio.Protocol):
    """HTTP/1.1 by hand: whole requests in, whole responses out, kept alive."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
        self.desk, self.loop, self.buffer, self.open = desk, loop, b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Requests left hanging are in flight no more."""
        self.desk.in_flight -= self.open
        self.open = 0

    def data_received(self, data: bytes) -> None:
        """Answer each request that has arrived whole."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[: end + 2].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 : head.find(b"\r", at)]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.route(head, body)

    def route(self, head: bytes, body: bytes) -> None:
        """Chats count and may be slow; the two GETs answer at once."""
        if head.startswith(b"get /stats "):
            self.transport.write(http(200, self.desk.stats()))
        elif head.startswith(b"get /v1/models "):
            self.transport.write(http(200, b'{"object": "list", "data": [{"id": "mock"}]}'))
        elif head.startswith(b"post /v1/chat/completions "):
            self.begin(body)
        else:
            self.transport.write(http(404, b'{"error": {"message": "no such page"}}'))

    def begin(self, body: bytes) -> None:
        """Count the request in and answer it now or after the latency."""
        desk, self.open = self.desk, self.open + 1
        desk.in_flight += 1
        desk.max_in_flight = max(desk.max_in_flight, desk.in_flight)
        if 0 < desk.flags.refuse_over < desk.in_flight:
            desk.requests += 1
            self.finish(b"", http(429, b'{"error": {"message": "too many requests at once"}}'))
            return
        paid, response = desk.chat(body)
        if response is None:
            return
        if wait := desk.wait(self.loop.time()):
            self.loop.call_later(wait, self.finish, paid, response)
        else:
            self.finish(paid, response)

    def finish(self, paid: bytes, response: bytes) -> None:
        """Count the request out; an empty response is a dropped connection."""
        if self.open:
            self.open -= 1
            self.desk.in_flight -= 1
            if paid:
                self.desk.paid[paid] += 1
        if not response:
            self.transport.abort()
        elif paid or not (self.desk.flags.half_body or self.desk.flags.drip):
            self.transport.write(response)
        elif self.desk.flags.half_body:
            self.transport.write(response[: len(response) // 2])
            self.transport.close()
        else:
            self.drip(response)

    def drip(self, response: bytes) -> None:
        """A byte now and then."""
        if response and not self.transport.is_closing():
            self.transport.write(response[:1])
            self.loop.call_later(0.1, self.drip, response[1:])


async def serve(flags: argparse.Namespace) -> None:
    """Listen on loopback until killed, or until the parent that was named is gone."""
    loop, desk = asyncio.get_running_loop(), Desk(flags)
    # More than the usual 100 may wait to be let in, or a crowd of clients loses a second to the first that are not.
    server = await loop.create_server(lambda: Connection(desk, loop), "127.0.0.1", flags.port, backlog=4096)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    while flags.parent in (0, os.getppid()):  # a test that was killed leaves no server behind
        await asyncio.sleep(1)


def read_flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--slots", type=int, default=0, help="so many are worked on at once, the others queue")
    parser.add_argument("--refuse-over", type=int, default=0, help="429 where more than so many are under way")
    parser.add_argument("--retry-after", type=float, help="answer 429 with this header")
    parser.add_argument("--retry-date", type=float, help="the same with a date, so many seconds from now")
    parser.add_argument("--fault-every", type=int, default=1, help="fault each Nth request by its hash")
    parser.add_argument("--fault-times", type=int, default=0, help="a request is well after failing so often")
    for number in ("port", "status", "parent"):
        parser.add_argument(f"--{number}", type=int, default=0)
    for fault in ("prose", "half-json", "empty", "hang", "html", "drop", "half-body", "drip"):
        parser.add_argument(f"--{fault}", action="store_true")
    return parser.parse_args(arguments)


@contextmanager
def running(**flags: float) -> Iterator[str]:
    """The server in a process of its own; yields its base_url. `running(status=500, html=True)`."""
    with started(**flags) as (base_url, _):
        yield base_url


@contextmanager
def started(**flags: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """As `running`; yields the process too, for who wants to kill or freeze it."""
    command = [sys.executable, str(Path(__file__).resolve()), "--parent", str(os.getpid())]
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        command += [flag] * value if isinstance(value, bool) else [flag, str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            first = server.stdout.readline()
            if not first.startswith("listening on "):
                raise RuntimeError(f"the mock server did not start: {' '.join(command)}")
            yield first.split()[-1], server
        finally:
            server.kill()  # a frozen one hears nothing else


if __name__ == "__main__":
    if sys.platform != "win32":
        from uvloop import run
    else:
        from asyncio import run
    run(serve(read_flags()))
