"""A provider's batch API (`/files` and `/batches`, as OpenAI shaped them): calls sent as one file, answered in a day.

A batch outlives the process that sent it and is paid for whether its answers are fetched or not. So it is on the disk
before it is sent, under a name that the server is told as well: whoever runs again finds it, here or there, waits for
the rest of it and reads its answers by `custom_id`, which is a hash of the call. In `folder` are, of each batch,
NAME.calls (as sent), NAME.id (as the server calls it) and NAME.answers (as fetched); they go when the process ends that
has used all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, TypeVar

import orjson
import portalocker

from seedbed import private
from seedbed.engines import EngineError, EngineGone
from seedbed.engines.completion import PassingFault

MOST_CALLS, MOST_BYTES = 50_000, 90_000_000  # OpenAI: 50,000 requests, 200 MB; others less
QUIET = 1.0  # seconds without a new call: nobody is left who could add one
POLL, LONGEST_POLL = 0.5, 60.0  # seconds between two looks at a batch, the first and the longest
OVERDUE = 26 * 3600.0  # seconds; a batch is promised within 24 hours
TRIES, LONGEST_WAIT = 6, 60.0
BOUNDARY = "seedbed-0b4c2a57e6f14d38"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

Exchange = Callable[[str, str, bytes, str], Awaitable[bytes]]  # method, page, body and its kind; raises PassingFault

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Batches:
    """The batches of one server and model. One process at a time uses a folder; from one event loop."""

    def __init__(self, folder: Path, where: str, exchange: Exchange, quiet: float = QUIET, poll: float = POLL) -> None:
        self._folder, self._where, self._exchange = folder, where, exchange
        self._quiet, self._poll = quiet, poll
        self._answers: dict[str, bytes] = {}  # of earlier processes, by custom_id
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._gathered: dict[str, bytes] = {}
        self._size = 0
        self._unused: dict[str, set[str]] = {}  # by batch, whose answers nobody has used yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._taken_up: asyncio.Task[None] | None = None
        self._lock: IO[bytes] | None = None

    async def answer(self, body: bytes) -> bytes:
        """The completion for this request's body, whenever its batch has one.

        Raises:
            EngineGone: the batch failed as a whole, or the server is gone. EngineError: this call of it failed.
        """
        if self._taken_up is None:
            self._taken_up = asyncio.create_task(self._take_up())
        await asyncio.shield(self._taken_up)
        call = blake2b(body, digest_size=16).hexdigest()
        answer = self._answers.get(call)
        if answer is None:
            answer = await asyncio.shield(self._waiting.get(call) or self._gather(call, body))
        for unused in self._unused.values():
            unused.discard(call)
        return answer

    async def close(self) -> None:
        """Leave what is under way to the server; forget the batches that are used up."""
        if self._timer:
            self._timer.cancel()
        tasks = [*self._tasks, *([self._taken_up] if self._taken_up else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name, unused in self._unused.items():
            if not unused:
                self._remove(name)
        if self._lock:
            self._lock.close()

    def _gather(self, call: str, body: bytes) -> asyncio.Future[bytes]:
        """Put a call into the next batch, which is sent when it is full or no more calls come."""
        self._gathered[call] = b'{"custom_id":"%b","method":"POST","url":"/v1/chat/completions","body":%b}\n' % (
            call.encode(),
            body,
        )
        self._size += len(self._gathered[call])
        if self._timer:
            self._timer.cancel()
        waiting = self._await([call])[0]
        if len(self._gathered) >= MOST_CALLS or self._size >= MOST_BYTES:
            self._send()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._quiet, self._send)
        return waiting

    def _await(self, calls: Iterable[str]) -> list[asyncio.Future[bytes]]:
        loop = asyncio.get_running_loop()
        made = []
        for call in calls:
            future: asyncio.Future[bytes] = loop.create_future()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody asks for it
            self._waiting[call] = future
            made.append(future)
        return made

    def _send(self) -> None:
        gathered, self._gathered, self._size = self._gathered, {}, 0
        name = f"{time.time_ns():x}"
        _write(self._folder / f"{name}.calls", b"".join(gathered.values()))
        self._unused[name] = set(gathered)
        self._begin(name)

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._follow(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_up(self) -> None:
        """Read the answers that earlier processes fetched, and follow the batches that they sent."""
        private.folder(self._folder)
        self._lock = private.opened(self._folder / "lock", "ab")
        try:
            portalocker.lock(self._lock, portalocker.LOCK_EX | portalocker.LOCK_NB)
        except portalocker.LockException as error:
            raise EngineGone(
                f"another process waits for batches of {self._where}; run again when it is done"
            ) from error
        for path in sorted(self._folder.glob("*.calls")):
            name, calls = path.stem, {orjson.loads(line)["custom_id"] for line in path.read_bytes().splitlines()}
            fetched, known = (self._folder / f"{name}.{kind}" for kind in ("answers", "id"))
            if fetched.exists():
                answers = {call: answer for call, answer, why in _read(fetched.read_bytes()) if not why}
                self._answers |= answers
                self._unused[name] = set(answers)
            elif known.exists() or await self._patiently(partial(self._find, name)) != "":
                self._unused[name] = calls
                self._await(calls)
                self._begin(name)
            else:
                self._remove(name)  # it was never sent: its calls are asked anew

    async def _follow(self, name: str) -> None:
        """Send a batch unless that is done, wait for its end, and hand out what came of it."""
        try:
            batch = await self._ended(await self._sent(name))
            lines = await self._fetched(batch)
            if not lines:
                self._remove(name)
                why = _first_error(batch) or "it has no answers"
                raise EngineGone(
                    f"{self._where}: batch {batch['id']} ended as {batch['status']}: {why}. Mend that and run again: "
                    "its calls are then sent anew"
                )
            _write(self._folder / f"{name}.answers", lines)
            self._hand_out(name, batch, lines)
        except EngineError as error:
            self._fail(name, error)

    async def _sent(self, name: str) -> str:
        """The server's id of this batch, which is sent at most once."""
        known = self._folder / f"{name}.id"
        if not known.exists():
            sent = await self._patiently(partial(self._send_once, name))
            _write(known, sent.encode())
            n = len(self._unused[name])
            _log.info("%s: batch %s of %d calls is sent; its answers may take up to a day", self._where, sent, n)
        return known.read_text()

    async def _send_once(self, name: str) -> str:
        """Send it unless the server has it: when the answer to an earlier try was lost, that try was paid for."""
        found = await self._find(name)
        if found:
            return found
        calls = (self._folder / f"{name}.calls").read_bytes()
        uploaded = await self._json("POST", "files", _form(f"seedbed-{name}.jsonl", calls), FORM)
        wanted = {
            "input_file_id": uploaded["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"seedbed": name},
        }
        return str((await self._json("POST", "batches", orjson.dumps(wanted)))["id"])

    async def _find(self, name: str) -> str:
        """The id of the batch that was sent under this name, or ""."""
        page = "batches?limit=100"
        while True:
            listed = await self._json("GET", page)
            for batch in listed["data"]:
                if (batch.get("metadata") or {}).get("seedbed") == name:
                    return str(batch["id"])
            if not listed.get("has_more") or not listed["data"]:
                return ""
            page = f"batches?limit=100&after={listed['data'][-1]['id']}"

    async def _ended(self, batch_id: str) -> dict[str, Any]:
        began, pause = time.monotonic(), self._poll
        while time.monotonic() - began < OVERDUE:
            batch = await self._patiently(partial(self._json, "GET", f"batches/{batch_id}"))
            if batch["status"] in ENDED:
                return batch
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, LONGEST_POLL)
        raise EngineGone(
            f"{self._where}: batch {batch_id} has not ended within a day. Ask the provider; run again later"
        )

    async def _fetched(self, batch: dict[str, Any]) -> bytes:
        """The lines of its answers and of its errors."""
        parts = []
        for key in ("output_file_id", "error_file_id"):
            if file_id := batch.get(key):
                ask = partial(self._exchange, "GET", f"files/{file_id}/content", b"", JSON)
                parts.append((await self._patiently(ask)).strip())
        return b"\n".join(part for part in parts if part)

    def _hand_out(self, name: str, batch: dict[str, Any], lines: bytes) -> None:
        left = set(self._unused[name])
        for call, answer, why in _read(lines):
            left.discard(call)
            if why:
                self._refuse(name, call, f"{self._where}: batch {batch['id']}: {why}")
            elif (waiting := self._waiting.pop(call, None)) and not waiting.done():
                self._answers[call] = answer
                waiting.set_result(answer)
        for call in left:
            why = f"{self._where}: batch {batch['id']} ended as {batch['status']} without an answer to this: run again"
            self._refuse(name, call, why)

    def _refuse(self, name: str, call: str, why: str) -> None:
        self._unused[name].discard(call)
        if waiting := self._waiting.pop(call, None):
            waiting.set_exception(EngineError(why))

    def _fail(self, name: str, error: EngineError) -> None:
        calls = self._unused.pop(name)  # its files stay, if they are still there: a later process takes it up
        for call in calls:
            if waiting := self._waiting.pop(call, None):
                waiting.set_exception(error)

    async def _json(self, method: str, page: str, body: bytes = b"", kind: str = JSON) -> dict[str, Any]:
        content = await self._exchange(method, page, body, kind)
        try:
            found: dict[str, Any] = orjson.loads(content)
            if found["object"] not in ("list", "batch", "file"):
                raise KeyError("object")
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise PassingFault(f"/{page} gave no batch, file or list but {content[:80]!r}") from error
        return found

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a question gives, asked again where a fault may pass. Raises EngineGone."""
        for tried in range(TRIES):
            try:
                return await ask()
            except PassingFault as fault:
                last, wait = fault, fault.retry_after if fault.retry_after is not None else 0.5 * 2**tried
            await asyncio.sleep(min(wait, LONGEST_WAIT))
        raise EngineGone(
            f"{self._where}: {last}. Asked {TRIES} times: check that the server is up and has a batch API (else leave "
            "out `batch`), then run again; what is sent already is not sent again"
        ) from last

    def _remove(self, name: str) -> None:
        for kind in ("answers", "id", "calls"):
            (self._folder / f"{name}.{kind}").unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """The whole file or none, also when the power fails."""
    part = path.with_suffix(".part")
    with private.opened(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _form(name: str, content: bytes) -> bytes:
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n'
    file = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/jsonl\r\n\r\n'
    return b"%b%b%b\r\n--%b--\r\n" % (field.encode(), file.encode(), content, BOUNDARY.encode())


def _read(lines: bytes) -> Iterable[tuple[str, bytes, str]]:
    """Of each line: its custom_id, the completion, and what went wrong instead or ""."""
    for line in lines.splitlines():
        try:
            found = orjson.loads(line)
            response, error = found.get("response") or {}, found.get("error")
            if response.get("status_code") == 200:
                yield found["custom_id"], orjson.dumps(response["body"]), ""
            else:
                said = error or (response.get("body") or {}).get("error") or response
                yield found["custom_id"], b"", f"HTTP {response.get('status_code', '?')}: {_words(said)}"
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            continue  # a line that says nothing of any call: the call counts as unanswered


def _words(said: object) -> str:
    message = said.get("message") if isinstance(said, dict) else said
    return " ".join(str(message or said).split())[:200]


def _first_error(batch: dict[str, Any]) -> str:
    errors = (batch.get("errors") or {}).get("data") or []
    return _words(errors[0]) if errors else ""
