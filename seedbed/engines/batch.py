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
import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import IO

import portalocker

from seedbed import private
from seedbed.engines import EngineError, EngineGone
from seedbed.engines.batch_api import POLL, BatchApi, Exchange
from seedbed.engines.batch_files import (
    Fetched,
    answers_in,
    call_line,
    first_error,
    read_answers,
    read_calls,
    read_id,
    set_aside,
    write,
)

FULL_CALLS, FULL_BYTES = 50_000, 90_000_000  # OpenAI: 50,000 requests, 200 MB; others less
QUIET = 1.0  # seconds without a new call: nobody is left who could add one

_log = logging.getLogger(__name__)


class Batches:
    """The batches of one server and model. One process at a time uses a folder; from one event loop."""

    def __init__(
        self,
        folder: Path,
        where: str,
        exchange: Exchange,
        *,
        quiet: float = QUIET,
        poll: float = POLL,
    ) -> None:
        """`quiet` and `poll` in seconds."""
        self._folder, self._where, self._quiet = folder, where, quiet
        self._api = BatchApi(where, exchange, poll)
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
        await asyncio.wait([self._taken_up])
        if self._taken_up.cancelled():
            raise EngineGone(f"{self._where}: the run ended before its batches were looked for; run again")
        self._taken_up.result()
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
        self._settle([*self._gathered], EngineGone(f"{self._where}: the run ended before this was sent"))
        for name in [name for name, unused in self._unused.items() if not unused]:
            try:
                self._remove(name)
            except OSError as error:
                _log.warning("%s: the files of batch %s cannot be removed: %s", self._folder, name, error)
        if self._lock:
            self._lock.close()

    def _gather(self, call: str, body: bytes) -> asyncio.Future[bytes]:
        """Put a call into the next batch, which is sent when it is full or no more calls come."""
        self._gathered[call] = call_line(call, body)
        self._size += len(self._gathered[call])
        if self._timer:
            self._timer.cancel()
        waiting = self._await([call])[0]
        if len(self._gathered) >= FULL_CALLS or self._size >= FULL_BYTES:
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
        try:
            write(self._folder / f"{name}.calls", b"".join(gathered.values()))
        except OSError as error:  # of a full disk, in a timer, where nobody else would hear of it
            self._settle(gathered, self._no_file(error))
            return
        self._unused[name] = set(gathered)
        self._begin(name)

    def _begin(self, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._follow(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _take_up(self) -> None:
        """Read the answers that earlier processes fetched, and follow the batches that they sent. Raises EngineGone."""
        try:
            private.folder(self._folder)
            self._lock = private.opened(self._folder / "lock", "ab")
            portalocker.lock(self._lock, portalocker.LOCK_EX | portalocker.LOCK_NB)
            for path in sorted(self._folder.glob("*.calls")):
                await self._take_up_one(path)
        except portalocker.LockException as error:
            raise EngineGone(
                f"another process waits for batches of {self._where}; run again when it is done"
            ) from error
        except OSError as error:
            raise self._no_file(error) from error

    async def _take_up_one(self, path: Path) -> None:
        name, (calls, damage) = path.stem, read_calls(path)
        fetched, whole = read_answers(self._folder / f"{name}.answers")
        answers = {line.call: line.answer for line in fetched.lines if not line.why}
        self._answers |= answers
        if whole:
            self._unused[name] = set(answers)
        elif self._noted(name) or await self._api.find(name):
            self._unused[name] = calls
            self._await(calls)
            followed = self._begin(name)
            if damage:
                _log.warning("%s is damaged (%s), but was sent: no call is made before it has ended", path, damage)
                await asyncio.wait([followed])  # or calls that nobody knows to be in it would be paid twice
        elif damage:
            set_aside(path, damage)
        else:
            self._remove(name)  # it was never sent: its calls are asked anew

    async def _follow(self, name: str) -> None:
        """Send a batch unless that is done, wait for its end and hand out what came of it; its callers are settled."""
        try:
            error = await self._fate(name)
        except asyncio.CancelledError:
            self._fail(name, EngineGone(f"{self._where}: the run ended before batch {name} did; run again"))
            raise
        if error:
            self._fail(name, error)

    async def _fate(self, name: str) -> EngineError | None:
        """What kept a batch from its end, if anything did."""
        forgotten = (
            f"Where the server has forgotten the batch, move {self._folder / name}.* away: its calls are paid anew"
        )
        try:
            await self._to_its_end(name)
            return None
        except EngineError as error:
            return EngineGone(f"{error}. {forgotten}") if (self._folder / f"{name}.calls").exists() else error
        except OSError as error:
            return self._no_file(error)
        except Exception as bug:  # whatever it is: others wait for this task, and would wait for ever
            _log.exception("%s: batch %s", self._where, name)
            return EngineGone(f"{self._where}: batch {name}: {type(bug).__name__}: {bug}. Run again. {forgotten}")

    async def _to_its_end(self, name: str) -> None:
        batch_id = await self._sent(name)
        batch = await self._api.ended(batch_id)
        content = await self._api.answers(batch)
        ended = f"{self._where}: batch {batch_id} ended as {batch['status']}"
        if not content:
            self._remove(name)
            why = first_error(batch) or "it has no answers"
            raise EngineGone(f"{ended}: {why}. Mend that and run again: its calls are then sent anew")
        write(self._folder / f"{name}.answers", content)
        self._hand_out(name, answers_in(content), ended)

    async def _sent(self, name: str) -> str:
        """The server's id of this batch, which is sent at most once."""
        noted = self._noted(name)
        if not noted:
            noted = await self._api.send(name, (self._folder / f"{name}.calls").read_bytes())
            write(self._folder / f"{name}.id", noted.encode())
            n = len(self._unused[name])
            _log.info("%s: batch %s of %d calls is sent; its answers may take up to a day", self._where, noted, n)
        return noted

    def _noted(self, name: str) -> str:
        return read_id(self._folder / f"{name}.id")

    def _hand_out(self, name: str, found: Fetched, ended: str) -> None:
        left = set(self._unused[name])
        for call, answer, why in found.lines:
            left.discard(call)
            if why:
                self._refuse(name, call, f"{ended}: {why}")
                continue
            self._answers[call] = answer
            self._unused[name].add(call)
            if (waiting := self._waiting.pop(call, None)) and not waiting.done():
                waiting.set_result(answer)
        damage = f" ({found.damaged} lines of its answers are cut off or damaged)" if found.damaged else ""
        for call in left:
            self._refuse(name, call, f"{ended} without an answer to this{damage}: run again")

    def _refuse(self, name: str, call: str, why: str) -> None:
        self._unused[name].discard(call)
        self._settle([call], EngineError(why))

    def _fail(self, name: str, error: EngineError) -> None:
        self._settle(self._unused.pop(name), error)  # its files stay, if they are still there: a later process goes on

    def _settle(self, calls: Iterable[str], error: EngineError) -> None:
        for call in calls:
            if (waiting := self._waiting.pop(call, None)) and not waiting.done():
                waiting.set_exception(error)

    def _no_file(self, error: OSError) -> EngineGone:
        return EngineGone(
            f"the batches of {self._where} cannot be kept in {self._folder}: {error.strerror or error}. Make room "
            "there, or make it writable, and run again: what is sent is found again, and not sent again"
        )

    def _remove(self, name: str) -> None:
        for kind in ("answers", "id", "calls"):
            (self._folder / f"{name}.{kind}").unlink(missing_ok=True)
