"""Whatever a server sends in place of an answer, its call ends soon, in bounded memory, in words for the cause."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time
import zlib
from typing import NamedTuple

import pytest

from seedbed.engines import EngineError
from seedbed.engines.completion import NAME
from seedbed.engines.http import HttpEngine
from seedbed.engines.wire import ANSWER_BYTES
from seedbed.replies import Choice, Reply, Unreadable
from tests.test_http import HELLO

KEY = "sk-verysecretkey1234567890abc"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MOST = 20.0  # seconds, with a deadline of one; a crowded machine is slow
MEMORY = 256 << 20  # that a call may add to the most this process ever had


def body(content: bytes, *more: bytes) -> bytes:
    return OK + b"".join(f + b"\r\n" for f in more) + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


def answer(**more: object) -> bytes:
    first = {"message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"} | more
    return body(json.dumps({"choices": [first]}).encode())


def raw(text: str) -> bytes:
    return body(text.encode())


def bomb(kind: bytes, bits: int) -> bytes:
    """A gigabyte of spaces, packed, piece by piece: this process never holds it either."""
    packer, spaces = zlib.compressobj(9, wbits=bits), b" " * (1 << 20)
    packed = b"".join(packer.compress(spaces) for _ in range(1024)) + packer.flush()
    return body(packed, b"Content-Encoding: " + kind)


def chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size)


TWICE = gzip.compress(gzip.compress(b" " * (1 << 20)))
HALF = '"\\ud83d"'
HALF_ODDS = f', "logprobs": {{"top_logprobs": [{{{HALF}: -0.1}}]}}, "f'
DEEP = "[" * 200_000
FAR = "[" * 900 + "]" * 900
MESSAGE = '{"choices": [{"message": {"content": %s}, "finish_reason": "stop"}]}'
LONG = "x" * (ANSWER_BYTES // 2)


class Attack(NamedTuple):
    """What is sent, what is said of it (None: it is read), what is sent after it without an end, who hangs up."""

    first: bytes
    told: str | None
    again: bytes = b""
    hangs_up: bool = False


def deep(where: str, depth: int) -> bytes:
    """A completion that is whole but for one field, which is nested so deep; the parser itself takes 1,000."""
    nested = "[" * depth + "]" * depth
    fields = {"content": '"fine"', where: nested}
    if where == "parts":
        fields = {"content": f'[{{"type": "text", "text": {nested}}}]'}
    message = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    return raw(f'{{"choices": [{{"message": {{{message}}}, "finish_reason": "stop"}}]}}')


DEPTHS = {
    f"{where}, {depth} deep": Attack(deep(where, depth), None)
    for where in ("content", "parts", "reasoning", "refusal", "tool_calls", "other")
    for depth in (99, 300, 500, 980)
}
SAID = KEY.encode()
LEAKS = {
    "a key in the status": Attack(b"HTTP/1.1 Bearer " + SAID + b" OK\r\n\r\n", "no HTTP", hangs_up=True),
    "a key in a header": Attack(b"HTTP/1.1 200 OK\r\nBearer " + SAID + b"\r\n\r\n", "no HTTP", hangs_up=True),
    "a key for a length": Attack(OK + b"Content-Length: " + SAID + b"\r\n\r\n", "no HTTP", hangs_up=True),
    "a key for a chunk": Attack(OK + b"Transfer-Encoding: chunked\r\n\r\n" + SAID + b"\r\n", "", hangs_up=True),
    "a key in UTF-16": Attack(body((MESSAGE % f'"{KEY}"').encode("utf-16")), "no chat completion"),
    "a key in UTF-16 without a mark": Attack(body((MESSAGE % f'"{KEY}"').encode("utf-16-le")), "no chat completion"),
    "a key in UTF-32": Attack(body((MESSAGE % f'"{KEY}"').encode("utf-32")), "no chat completion"),
    "a refusal in UTF-16": Attack(body(KEY.encode("utf-16")).replace(b"200 OK", b"400 No"), "HTTP 400"),
    "a place to go to with a key": Attack(
        b"HTTP/1.1 307 x\r\nLocation: /" + SAID + b"\r\nContent-Length: 0\r\n\r\n", "redirects"
    ),
}
BARE = body((MESSAGE % '"fine"').encode()).replace(b"\r\n", b"\n")
ODD = [{"token": "A", "logprob": "NaN"}, {"token": 7, "logprob": {}}, {"token": {}, "logprob": 0}]
BEYOND = [{"token": "A", "logprob": -(10**400)}, {"token": "B", "logprob": 10**400}]
MANY = [{"token": "A" * 9_999, "logprob": 0.0}] * 1_000
ATTACKS = {
    "a gigabyte of spaces, packed": Attack(bomb(b"gzip", 31), "more than 16,777,216 bytes"),
    "a gigabyte of spaces, packed otherwise": Attack(bomb(b"deflate", 15), "more than 16,777,216 bytes"),
    "packed twice": Attack(body(TWICE, b"Content-Encoding: gzip, gzip"), "no chat completion"),
    "packed, and it is not": Attack(body(b"plain", b"Content-Encoding: gzip"), "Can not decode"),
    "a body without an end": Attack(OK + b"Transfer-Encoding: chunked\r\n\r\n", "more than", chunk(65536)),
    "headers without an end": Attack(b"HTTP/1.1 200 OK\r\n", "no HTTP", b"X-More: " + b"y" * 4000 + b"\r\n"),
    "a header without an end": Attack(b"HTTP/1.1 200 OK\r\nX-More: ", "no HTTP", b"y" * 65536),
    "a byte at a time": Attack(OK + b"Content-Length: 1000000\r\n\r\n", "no whole answer", b" "),
    "early hints without an end": Attack(b"", "no whole answer", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "a length that is none": Attack(OK + b"Content-Length: -5\r\n\r\nhello", "no HTTP"),
    "two lengths": Attack(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "no HTTP"),
    "more promised than sent": Attack(OK + b"Content-Length: 99999\r\n\r\n{}", "not completed", hangs_up=True),
    "lists without end": Attack(raw(DEEP), "no chat completion"),
    "content nested without end": Attack(raw(MESSAGE % (DEEP + "]" * 200_000)), "no chat completion"),
    "mappings without end": Attack(raw('{"choices": [' + '{"a":' * 200_000), "no chat completion"),
    "a million choices": Attack(raw('{"choices": [' + "{}," * 1_000_000 + "{}]}"), "message is missing"),
    "a number of a million digits": Attack(raw('{"choices": [], "usage": ' + "9" * 1_000_000 + "}"), "no chat"),
    "half a character": Attack(raw(MESSAGE % HALF), "half a character"),
    "half a character in the model's name": Attack(raw(f'{{"model": {HALF}, ' + (MESSAGE % '"fine"')[1:]), None),
    "half a character in the finish": Attack(raw(MESSAGE.replace('"stop"', HALF) % '"fine"'), None),
    "half a character in the odds": Attack(raw(MESSAGE.replace(', "f', HALF_ODDS) % '"fine"'), None),
    "half a character for a kind of part": Attack(raw(MESSAGE % ('[{"type": ' + HALF + "}]")), "a part of type ?"),
    "choices that are none, and a deep field": Attack(raw(f'{{"choices": null, "x": {FAR}}}'), "no chat completion"),
    "choices that are none, and a large number": Attack(raw('{"choices": null, "x": ' + "9" * 99 + "}"), "no chat"),
    "an error with a deep code": Attack(raw(f'{{"error": {{"message": "no", "code": {FAR}}}}}'), "no"),
    "lines that end in a bare line feed": Attack(BARE, None),
    "null bytes": Attack(raw("\0" * 1000), "no chat completion"),
    "bytes that are no text": Attack(body(b"\xff\xfe" * 1000), "no chat completion"),
    "an answer of eight megabytes": Attack(raw(MESSAGE % json.dumps(LONG)), None),
    "reasoning of eight megabytes": Attack(raw(MESSAGE % json.dumps("<think>" * 1000 + LONG)), None),
    "a refusal of eight megabytes": Attack(body(LONG.encode()).replace(b"200 OK", b"400 No"), "characters more"),
    "a finish of eight megabytes": Attack(answer(finish_reason=LONG), None),
    "odds that are no numbers": Attack(answer(logprobs={"content": [{"top_logprobs": ODD}]}), None),
    "odds beyond all numbers": Attack(answer(logprobs={"content": [{"top_logprobs": BEYOND}]}), None),
    "odds of many long tokens": Attack(answer(logprobs={"content": [{"top_logprobs": MANY}]}), None),
    **LEAKS,
}


async def attacked(attack: Attack, verb: str) -> Reply | Choice | EngineError | Unreadable:
    """What a call comes to at a server that does this to whoever asks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(attack.first)
            while attack.again:
                writer.write(attack.again)
                await writer.drain()
                await asyncio.sleep(0.001)
            await writer.drain()
            if not attack.hangs_up:
                await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        async with HttpEngine(url, "mock", timeout=1, retries=0, api_key=KEY) as engine:
            if verb == "chat":
                return await engine.chat(HELLO, step="answer")
            return await engine.choose(HELLO, ("A", "B"), step="judge")
    except (EngineError, Unreadable) as told:
        return told
    finally:
        server.close()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", DEPTHS)
def test_an_answer_of_any_depth_is_read_or_unreadable_and_never_a_bug(name):
    found = asyncio.run(attacked(DEPTHS[name], "chat"))
    assert isinstance(found, Reply | Unreadable), found


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("verb", ["chat", "choose"])
def test_a_hostile_body_ends_its_call_in_words(name, verb):
    told = ATTACKS[name].told
    before, began = peak(), time.monotonic()
    found = asyncio.run(attacked(ATTACKS[name], verb))
    assert time.monotonic() - began < MOST and peak() - before < MEMORY
    if told is not None:
        assert isinstance(found, Exception) and told in str(found), found
    elif verb == "chat":
        assert isinstance(found, Reply), found
    if isinstance(found, Exception):
        assert len(str(found)) < 6_000, "an error is no place for a body"
    else:
        assert len(json.dumps(found, ensure_ascii=False, default=dict).encode()) < 4 * ANSWER_BYTES, (
            "a table can hold it"
        )
    spelled = str(found).replace("\0", "").replace("\\x00", "").replace("\\0", "")
    assert KEY not in spelled and KEY not in str(getattr(found, "raw", "")).replace("\0", "")
    if isinstance(found, Reply):
        assert len(found.served) <= NAME and len(found.finish) <= NAME
    if isinstance(found, Choice):
        assert all(len(token) <= NAME for token in found.wanted)
