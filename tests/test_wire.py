"""What the wire promises: each way that HTTP/1.1 lets a server answer is understood, and connections are kept."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from yarl import URL

from seedbed.engines.wire import Wire

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def served(*pieces, then_close=False, times=2, seconds=2.0):
    """The answers to `times` requests where a server sends these pieces to each; how many connections it saw."""
    opened = []

    async def serve(reader, writer):
        opened.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"content-length:")[1].split()[0])
            await reader.readexactly(length)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if then_close:
                return writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        wire = Wire(URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"), {})
        try:
            answers = []
            for _ in range(times):
                answers.append(await wire.exchange("POST", "page", b"body", seconds))
                await asyncio.sleep(0.05)
            return answers
        finally:
            await wire.close()
            for writer in opened:
                writer.close()
            server.close()

    return [(answer.status, answer.content) for answer in asyncio.run(main())], len(opened)


@pytest.mark.parametrize(
    "pieces",
    [
        (PLAIN,),
        (PLAIN[:20], PLAIN[20:40], PLAIN[40:]),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", PLAIN),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3\r\nllo\r\n", b"0\r\n\r\n"),
    ],
)
def test_an_answer_is_read_whole_and_its_connection_kept(pieces):
    assert served(*pieces) == ([(200, b"hello")] * 2, 1)


def test_an_answer_is_the_same_wherever_it_is_cut():
    answer = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  12 \r\nConnection: Keep-Alive\r\n\r\nhello, world"
    for at in range(1, len(answer), 7):
        assert served(answer[:at], answer[at:], times=1) == ([(200, b"hello, world")], 1), at


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_aiohttps_to_judge(head):
    """As it would be without our reader: two lengths, signs, folds and halves are no answer."""
    with pytest.raises(aiohttp.ClientError):
        served(head + b"hello", then_close=True, times=1)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"],
)
def test_a_connection_that_the_server_ends_is_replaced(head):
    assert served(head + b"\r\n\r\n", b"hel", b"lo", then_close=True) == ([(200, b"hello")] * 2, 2)


def test_a_connection_on_which_something_comes_that_nobody_asked_for_is_replaced():
    assert served(PLAIN, b"x") == ([(200, b"hello")] * 2, 2)


def test_a_connection_closed_while_idle_is_replaced():
    assert served(PLAIN, then_close=True) == ([(200, b"hello")] * 2, 2)


def test_more_than_was_asked_for_is_not_taken_for_the_next_answer():
    assert served(PLAIN + PLAIN.replace(b"hello", b"wrong")) == ([(200, b"hello")] * 2, 2)


@pytest.mark.parametrize(
    "piece", [b"220 mail.example.org ESMTP\r\n", b"\x16\x03\x01\x02\x00", b"HTTP/1.1 2x0 OK\r\n\r\n"]
)
def test_what_is_no_http_is_said_to_be_none(piece):
    with pytest.raises(aiohttp.ClientError):
        served(piece, then_close=True)


def test_a_deadline_is_each_calls_own():
    async def silent(reader, writer):
        await reader.read()

    async def main():
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        wire = Wire(URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), {})
        loop, ended = asyncio.get_running_loop(), list[float]()

        async def call(seconds):
            began = loop.time()
            with pytest.raises(TimeoutError):
                await wire.exchange("POST", "page", b"", seconds)
            assert loop.time() - began >= seconds - 1e-3, "not before it is due"
            ended.append(seconds)

        long = [asyncio.create_task(call(seconds)) for seconds in (600, 300)]
        await asyncio.sleep(0)  # theirs are set first
        await asyncio.gather(call(0.5), call(0.1), call(0.3))
        assert not any(one.done() for one in long)
        for one in long:
            one.cancel()
        await asyncio.wait(long)
        await wire.close()
        server.close()
        return ended

    assert asyncio.run(main()) == [0.1, 0.3, 0.5]
