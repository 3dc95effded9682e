"""What is asked of a provider's batch API, each question until it is answered; no answer is taken at its word.

What is no batch, no list or no id is a fault with a name. A server is asked TRIES times for what may pass.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import orjson

from seedbed.engines import EngineGone
from seedbed.engines.completion import PassingFault

POLL, LONGEST_POLL = 0.5, 60.0  # seconds between two looks at a batch, the first and the longest
OVERDUE = 26 * 3600.0  # seconds; a batch is promised within 24 hours
TRIES, LONGEST_WAIT = 6, 60.0
MOST_PAGES = 1000  # of the list of batches, a hundred each: a longer list has no end
MOST_BYTES = 2 << 30  # of the answers of a batch; they are held in memory
BOUNDARY = "seedbed-0b4c2a57e6f14d38"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
FILES = ("output_file_id", "error_file_id")
# An id becomes a part of addresses: there is no "/" in it, and it goes up no folder.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:~=-]{0,255}")

Exchange = Callable[[str, str, bytes, str], Awaitable[bytes]]  # method, page, body and its kind; raises PassingFault

T = TypeVar("T")

_log = logging.getLogger(__name__)


class BatchApi:
    """The batches of one server, which is called `where` in messages. All raise EngineGone."""

    def __init__(self, where: str, exchange: Exchange, poll: float) -> None:
        """`poll` in seconds."""
        self._where, self._ask, self._poll = where, exchange, poll

    async def find(self, name: str) -> str:
        """The id of the batch that was sent under this name, or ""."""
        return await self._patiently(partial(self._find, name))

    async def send(self, name: str, calls: bytes) -> str:
        """Send a batch unless the server has it, and give its id."""
        return await self._patiently(partial(self._send, name, calls))

    async def ended(self, batch_id: str) -> dict[str, Any]:
        """The batch when it has ended: with a status of ENDED, and ids of files or none."""
        began, pause = time.monotonic(), self._poll
        while time.monotonic() - began < OVERDUE:
            batch = await self._patiently(partial(self._look, batch_id))
            if batch["status"] in ENDED:
                return batch
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, LONGEST_POLL)
        raise EngineGone(
            f"{self._where}: batch {batch_id} has not ended within a day. Ask the provider; run again later"
        )

    async def answers(self, batch: dict[str, Any]) -> bytes:
        """The lines of its answers and of its errors."""
        pages = [f"files/{batch[key]}/content" for key in FILES if batch.get(key)]
        parts = [(await self._patiently(partial(self._ask, "GET", page, b"", JSON))).strip() for page in pages]
        if sum(map(len, parts)) > MOST_BYTES:
            most = f"{MOST_BYTES >> 20:,} MiB"
            raise EngineGone(f"{self._where}: the answers of a batch are larger than {most}. Ask for shorter ones")
        return b"\n".join(part for part in parts if part)

    async def _find(self, name: str) -> str:
        page = "batches?limit=100"
        for _ in range(MOST_PAGES):
            listed = await self._json("GET", page)
            batches = listed.get("data")
            if not isinstance(batches, list) or not all(isinstance(batch, dict) for batch in batches):
                raise PassingFault(f"/{page} gave no list of batches but {str(batches)[:80]!r}")
            for batch in batches:
                told = batch.get("metadata")
                if isinstance(told, dict) and told.get("seedbed") == name:
                    return _id(batch, page)
            if not listed.get("has_more") or not batches:
                return ""
            page = f"batches?limit=100&after={_id(batches[-1], page)}"
        raise EngineGone(
            f"{self._where}: its list of batches has no end: {MOST_PAGES:,} pages and more. Ask the provider, or leave "
            "out `batch`"
        )

    async def _send(self, name: str, calls: bytes) -> str:
        found = await self._find(name)  # where the answer to an earlier try was lost, that try was paid for
        if found:
            return found
        uploaded = await self._json("POST", "files", _form(f"seedbed-{name}.jsonl", calls), FORM)
        wanted = {
            "input_file_id": _id(uploaded, "files"),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"seedbed": name},
        }
        return _id(await self._json("POST", "batches", orjson.dumps(wanted)), "batches")

    async def _look(self, batch_id: str) -> dict[str, Any]:
        page = f"batches/{batch_id}"
        batch = await self._json("GET", page)
        if not isinstance(batch.get("status"), str):
            raise PassingFault(f"/{page} gave a batch whose status is {str(batch.get('status'))[:80]!r}")
        for key in FILES:
            if batch.get(key):
                _id(batch, page, key)
        return batch

    async def _json(self, method: str, page: str, body: bytes = b"", kind: str = JSON) -> dict[str, Any]:
        content = await self._ask(method, page, body, kind)
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict) or found.get("object") not in ("list", "batch", "file"):
            said = " ".join(content[:400].decode(errors="replace").split())[:80]
            raise PassingFault(f"/{page} gave no batch, file or list but {said!r}")
        return found

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a question gives, asked again where a fault may pass."""
        for tried in range(TRIES):
            try:
                return await ask()
            except PassingFault as fault:
                last, wait = fault, fault.retry_after if fault.retry_after is not None else self._poll * 2**tried
            await asyncio.sleep(min(wait, LONGEST_WAIT))
        raise EngineGone(
            f"{self._where}: {last}. Asked {TRIES} times: check that the server is up and has a batch API (else leave "
            "out `batch`), then run again; what is sent already is not sent again"
        ) from last


def _id(found: dict[str, Any], page: str, key: str = "id") -> str:
    """A provider's id. Raises PassingFault where it is none."""
    told = found.get(key)
    if not isinstance(told, str) or not ID.fullmatch(told):
        raise PassingFault(f"/{page} gave an {key} that is none: {str(told)[:80]!r}")
    return told


def _form(name: str, content: bytes) -> bytes:
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n'
    file = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/jsonl\r\n\r\n'
    return b"%b%b%b\r\n--%b--\r\n" % (field.encode(), file.encode(), content, BOUNDARY.encode())
