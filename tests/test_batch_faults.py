"""Whatever a provider's batch API says and whatever becomes of our files: every call ends and names the fault."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from seedbed.engines import EngineError, EngineGone, Reply
from seedbed.engines.batch import Batches
from seedbed.engines.http import HttpEngine
from seedbed.records import Message
from tests.batch_provider import providing

CALLS = 4
KEY = "sk-live-0123456789abcdef+/="


async def asked(provider, folder, quiet=0.02, meanwhile=None):
    """What CALLS calls give, answers or errors; `meanwhile` is awaited beside them, and what it gives ends them."""
    async with HttpEngine(provider.base_url, "m", timeout=5, api_key=KEY) as engine:
        batches = Batches(folder, "the server", engine._of_batch, quiet=quiet, poll=0.01)
        engine._batches = batches
        calls = [engine.chat([Message(role="user", content=f"say {n}")], step="t") for n in range(CALLS)]
        told = asyncio.ensure_future(asyncio.gather(*calls, return_exceptions=True))
        if meanwhile and await meanwhile(batches):
            await batches.close()
        return await asyncio.wait_for(told, 60)


def ask(*given, **more):
    return asyncio.run(asked(*given, **more))


def turned(page, change):
    """A provider's words on one page, changed."""
    return lambda name, said: change(said) if name == page else said


def put(**changed):
    return lambda said: {**said, **changed}


def without(*names):
    return lambda said: {name: value for name, value in said.items() if name not in names}


@pytest.mark.parametrize(
    ("page", "change", "said"),
    [
        ("files", without("id"), "an id that is none"),
        ("files", put(id=7), "an id that is none: '7'"),
        ("files", put(id=["file-0"]), "an id that is none"),
        ("files", lambda said: [said], "gave no batch, file or list"),
        ("files", lambda said: b"", "gave no batch, file or list"),
        ("files", lambda said: b"<html>Sign in</html>", "Sign in"),
        ("files", lambda said: b"[" * 5000, "gave no batch, file or list"),
        ("one", without("status"), "whose status is 'None'"),
        ("one", put(status=["completed"]), "whose status is"),
        ("one", put(output_file_id={"id": 1}), "an output_file_id that is none"),
        ("one", put(error_file_id="../secrets"), "an error_file_id that is none"),
        ("one", lambda said: "completed", "gave no batch, file or list"),
        ("one", put(object="unicorn"), "gave no batch, file or list"),
        ("one", put(output_file_id=None, status="failed", errors=[None, "no quota"]), "ended as failed: no quota"),
        ("one", put(output_file_id=None, status="failed", errors="no quota"), "ended as failed: no quota"),
        ("one", put(output_file_id=None, status="failed", errors={"data": {"a": 1}}), "ended as failed: {'data'"),
        ("one", put(output_file_id=None), "ended as completed: it has no answers"),
        ("all", put(data=None), "gave no list of batches but 'None'"),
        ("all", put(data={"a": 1}), "gave no list of batches"),
        ("all", put(data=[None]), "gave no list of batches"),
        ("all", put(data=[{"metadata": None}], has_more=True), "an id that is none"),
        ("content", lambda said: b"", "it has no answers"),
        (
            "content",
            lambda said: b"<html>",
            "without an answer to this (1 lines of its answers are cut off or damaged)",
        ),
        ("content", lambda said: said[:100], "without an answer to this (1 lines"),
        (
            "content",
            lambda said: said.replace(b'"custom_id":"', b'"custom_id":["a"],"x":"'),
            "without an answer to this",
        ),
        ("content", lambda said: said.replace(b'"custom_id":"', b'"custom_id":"other'), "without an answer to this"),
        ("content", lambda said: b"\n".join([b"[" * 5000, b"null", b"7", b"[]"]), "(4 lines of its answers"),
        ("content", lambda said: said.replace(b'"body":{', b'"body":null,"x":{'), "no chat completion"),
        ("content", lambda said: said.replace(b'"response":', b'"response":[1],"x":'), "HTTP ?"),
        ("content", lambda said: said.replace(b'"error":null', b'"error":"full","response":0'), "HTTP ?: full"),
        ("content", lambda said: said.replace(b'_code":200', b'_code":500'), "HTTP 500"),
    ],
)
def test_whatever_is_odd_ends_every_call_with_a_name_for_it(tmp_path, page, change, said):
    with providing(seconds=0, twist=turned(page, change)) as provider:
        told = ask(provider, tmp_path / "b")
    assert len(told) == CALLS and all(isinstance(error, EngineError) for error in told), told
    assert all(said in str(error) and "Traceback" not in str(error) for error in told), told[0]


ODD_IDS = [None, 7, ["batch-0"], "a/../../files", "..", "", "x" * 5000, "batch-0?x=1", "batch 0", "batch-0\n"]


@pytest.mark.parametrize("change", [*(put(id=odd) for odd in ODD_IDS), without("id"), lambda said: None, lambda _: b""])
def test_when_the_answer_to_its_creation_is_odd_the_batch_is_found_in_the_list_and_paid_once(tmp_path, change):
    with providing(seconds=0, twist=turned("create", change)) as provider:
        assert all(isinstance(reply, Reply) for reply in ask(provider, tmp_path / "b"))
    assert set(provider.paid.values()) == {1}


@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_id_that_is_none_goes_into_no_address(tmp_path, odd):
    def everywhere(page, said):
        listed = page == "all" and {**said, "data": [{**batch, "id": odd} for batch in said["data"]]}
        return {**said, "id": odd} if page == "create" else listed or said

    with providing(seconds=0, twist=everywhere) as provider:
        told = ask(provider, tmp_path / "b")
    assert all(isinstance(error, EngineGone) and "an id that is none" in str(error) for error in told)
    assert len(provider.batches) == 1, "it is not sent again and again"


def test_a_list_of_batches_without_end_is_a_fault_with_a_name(tmp_path):
    with providing(twist=turned("all", put(data=[{"id": "batch-0", "metadata": [1]}], has_more=True))) as provider:
        provider.batches["batch-0"] = {"object": "batch", "id": "batch-0", "status": "completed"}
        told = ask(provider, tmp_path / "b")
    assert all(isinstance(error, EngineGone) and "its list of batches has no end" in str(error) for error in told)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said + b"\n" + said.splitlines()[0],
        lambda said: b"\n\n" + said.replace(b"\n", b"\r\n\r\n"),
        lambda said: said.replace(b'"status_code":200', b'"status_code":"200"'),
        lambda said: said + b'\n{"custom_id":"a stranger","response":{"status_code":200,"body":{}}}',
    ],
    ids=["a line twice", "blank lines", "a number as text", "a stranger's line"],
)
def test_what_is_only_unusual_is_read(tmp_path, change):
    with providing(seconds=0, twist=turned("content", change)) as provider:
        assert all(isinstance(reply, Reply) for reply in ask(provider, tmp_path / "b"))


def test_of_answers_that_are_cut_off_the_whole_ones_count_and_the_others_are_named(tmp_path):
    with providing(seconds=0, twist=turned("content", lambda said: said[:-20])) as provider:
        told = ask(provider, tmp_path / "b")
    assert [type(one) for one in told].count(Reply) == CALLS - 1
    assert "cut off or damaged" in next(str(one) for one in told if isinstance(one, EngineError))


async def gone(folder: Path, name: str) -> None:
    """Until such a file is there; then the folder goes."""
    while not [*folder.glob(name)]:
        await asyncio.sleep(0.005)
    shutil.rmtree(folder)


@pytest.mark.parametrize(("name", "quiet"), [("lock", 1.0), ("*.calls", 0.02), ("*.id", 0.02)])
def test_a_disk_that_takes_nothing_ends_every_call_with_what_to_do(tmp_path, name, quiet):
    with providing(seconds=0.5) as provider:
        told = ask(provider, tmp_path / "b", quiet, meanwhile=lambda _: gone(tmp_path / "b", name))
    assert all(isinstance(error, EngineGone) for error in told), told
    assert "Make room there" in str(told[0]) and str(tmp_path / "b") in str(told[0])


def test_a_folder_that_cannot_be_made_ends_every_call_with_what_to_do(tmp_path):
    (tmp_path / "b").write_text("a file")
    told = ask(SimpleNamespace(base_url="http://127.0.0.1:9/v1"), tmp_path / "b")
    assert all(isinstance(error, EngineGone) and "cannot be kept in" in str(error) for error in told)


def test_calls_that_wait_when_the_engine_closes_are_told(tmp_path):
    async def sent(_):
        while not [*(tmp_path / "b").glob("*.id")]:
            await asyncio.sleep(0.005)
        return True

    async def gathered(batches):
        while not batches._gathered:
            await asyncio.sleep(0.005)
        return True

    with providing(seconds=600) as provider:
        told = ask(provider, tmp_path / "b", meanwhile=sent)
        assert all(isinstance(error, EngineGone) and "the run ended before batch" in str(error) for error in told)
        told = ask(provider, tmp_path / "c", quiet=60, meanwhile=gathered)
        assert all(isinstance(error, EngineGone) and "the run ended before" in str(error) for error in told)


def first(lines: bytes) -> bytes:
    return lines[: lines.index(b"\n") // 2] + lines[lines.index(b"\n") :]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("id", lambda text: b""),
        ("id", lambda text: b"../../files"),
        ("id", lambda text: b"\xff\xfe"),
        ("id", lambda text: text + b"\n"),
        ("id", lambda text: b"x" * 10_000),
        ("calls", first),
        ("calls", lambda text: b""),
        ("calls", lambda text: b"\xff\0" * 100),
        ("calls", lambda text: b"[" * 10_000),
        ("calls", lambda text: b'{"custom_id": ["a"]}\n7\nnull\n'),
    ],
)
def test_a_batch_whose_files_are_damaged_is_found_again_and_paid_once(tmp_path, caplog, kind, damage):
    async def sent(_):
        while not [*(tmp_path / "b").glob("*.id")]:
            await asyncio.sleep(0.005)
        return True

    with providing(seconds=600) as provider:
        ask(provider, tmp_path / "b", meanwhile=sent)
        [path] = (tmp_path / "b").glob(f"*.{kind}")
        path.write_bytes(damage(path.read_bytes()))
        provider.seconds = 0
        with caplog.at_level(logging.WARNING):
            told = ask(provider, tmp_path / "b")
    assert all(isinstance(reply, Reply) for reply in told), told
    assert set(provider.paid.values()) == {1} and str(path) in caplog.text and "damaged" in caplog.text


@pytest.mark.parametrize("damage", [first, lambda text: b"", lambda text: b"\0" * 50, lambda text: text[:-30]])
def test_answers_that_are_damaged_on_the_disk_are_set_aside_and_fetched_again(tmp_path, caplog, damage):
    async def fetched(_):
        while not [*(tmp_path / "b").glob("*.answers")]:
            await asyncio.sleep(0.001)
        shutil.copytree(tmp_path / "b", tmp_path / "kept", ignore=shutil.ignore_patterns("lock"))

    with providing(seconds=0) as provider:
        ask(provider, tmp_path / "b", meanwhile=fetched)
        [path] = (tmp_path / "kept").glob("*.answers")
        path.write_bytes(damage(path.read_bytes()))
        told = ask(provider, tmp_path / "kept")
    assert all(isinstance(reply, Reply) for reply in told), told
    assert set(provider.paid.values()) == {1} and path.with_name(f"{path.name}.damaged").exists()
    assert "set aside" in caplog.text


def strange(folder: Path) -> None:
    (folder / "notes.calls").write_text("buy milk\n")
    (folder / "empty.calls").write_bytes(b"")
    (folder / "folder.calls").mkdir()
    os.mkfifo(folder / "pipe.calls")
    (folder / "alone.id").write_text("batch-9")
    (folder / "alone.answers").write_text("{}")
    (folder / "link.calls").symlink_to("nowhere")


def test_strange_files_in_the_folder_are_set_aside_and_said_and_stop_nothing(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    strange(tmp_path / "b")
    with providing(seconds=0) as provider:
        assert all(isinstance(reply, Reply) for reply in ask(provider, tmp_path / "b"))
    aside = {path.name for path in (tmp_path / "b").glob("*.damaged")}
    assert aside == {f"{name}.calls.damaged" for name in ("notes", "empty", "folder", "pipe", "link")}
    assert all(name in caplog.text for name in aside)


def test_a_fault_of_our_own_ends_every_call_too_and_leaves_its_traceback(tmp_path, caplog):
    class Odd(dict[str, str]):
        def get(self, *_):
            raise ZeroDivisionError("a bug")

    async def broken(batches):
        batches._api.ended = lambda _: asyncio.sleep(0, Odd(status="completed"))

    with providing(seconds=0) as provider:
        told = ask(provider, tmp_path / "b", meanwhile=broken)
    assert all(isinstance(error, EngineGone) and "ZeroDivisionError: a bug" in str(error) for error in told)
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("page", ["files", "create", "one", "all", "content"])
def test_a_key_that_the_provider_repeats_is_in_no_message_answer_or_file(tmp_path, caplog, page):
    spellings = (
        KEY,
        KEY.replace("/", "\\/"),
        KEY.replace("+", "\\u002b"),
        quote(KEY),
        b64encode(f"me:{KEY}".encode()).decode(),
    )
    for n, spelled in enumerate(spellings):
        echo = b'{"hello": "you sent Bearer %b"}' % spelled.encode()
        with providing(seconds=0, twist=turned(page, lambda said, echo=echo: echo)) as provider:
            told = ask(provider, tmp_path / f"b{n}")
        assert page in ("create", "content") or "[secret]" in str(told[0])
        said = f"{told}{caplog.text}{[path.read_bytes() for path in tmp_path.rglob('*.*')]}"
        assert spelled not in said and KEY not in said and spelled[4:24] not in said


def test_an_answer_that_repeats_the_key_comes_without_it(tmp_path):
    def repeat(said):
        return said.replace(b'"content":"', b'"content":"My key is %b. ' % KEY.replace("/", "\\/").encode())

    with providing(seconds=0, twist=turned("content", repeat)) as provider:
        told = ask(provider, tmp_path / "b")
    assert all(reply.text.startswith("My key is [secret]. ") for reply in told)
