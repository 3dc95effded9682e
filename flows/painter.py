"""Paints a run's page at a Prefect server: `python -P -m flows.painter`, told what to paint on standard input.

It speaks Prefect's documented REST interface, with a deadline for each answer: Prefect's flow engine would hold up the
end of a run until every picture has arrived, for minutes where the server is gone. Whoever tells does not wait for us.
Once the last line has come, or the pipe has broken because the run was killed, what is not painted has some seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.orchestration import get_client
from prefect.utilities.urls import url_for

from flows.page import TOLD, Begin, Close, End, Keep, Move, Say, Start, State, Told, Word
from flows.terminal import say

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

ANSWER = 10.0  # seconds for an answer
PATIENCE = 30.0  # seconds of asking again until the server counts as gone
AGAIN = 0.5  # seconds before the next try
REST, LAST = 3.0, 9.0  # seconds for what is not painted when the run is over, and until how it ended must be
BUSY = (408, 429, *range(500, 600))  # statuses of a server that may answer the next time
LONGEST_LINE = 1 << 26
KILLED = Close(state="CRASHED", message="the run was killed; the same command goes on from there")
INFO, WARNING = 20, 30

Fields = dict[str, Any]


class LostError(Exception):
    """The server is gone, and nothing more is painted: the message says how it seems to be gone."""


class Server:
    """A Prefect server, asked again until it answers or counts as gone."""

    def __init__(self, client: PrefectClient) -> None:
        self._client, self._turn = client, asyncio.Lock()
        self._silent_since: float | None = None
        self.patience = 0.0  # who begins wants to know at once

    async def ask(self, method: str, path: str, body: object) -> Fields:
        """Its answer. One question at a time: the SQLite behind the server gets stuck on several for seconds.

        Raises LostError; HTTPStatusError where it will not.
        """
        async with self._turn:
            return await self.urge(method, path, body)

    async def urge(self, method: str, path: str, body: object) -> Fields:
        """As `ask`, before all others."""
        while True:
            try:
                request = self._client.request(method, path, json=body)  # type: ignore[arg-type]  # known by patterns
                answer = await asyncio.wait_for(request, ANSWER)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in BUSY:
                    raise
                await self._bear(error)
            else:
                self._silent_since = None
                found: Fields = answer.json() if answer.content else {}
                return found

    async def _bear(self, error: Exception) -> None:
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since >= self.patience:
            raise LostError(_said(error)) from error
        await asyncio.sleep(AGAIN)


class Page:
    """The page of one run: a flow run with its stages as task runs, its log, and what stays with it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._recipe = self._run = self._progress = ""
        self._own = True
        self._stages: dict[int, asyncio.Task[Fields]] = {}
        self._latest: Move | None = None
        self._moving = asyncio.Lock()

    async def begin(self, told: Begin) -> str:
        """Begin the page; where it is. Raises LostError, HTTPStatusError."""
        self._recipe, self._run, self._own = told.recipe.replace("_", "-"), told.flow_run, not told.flow_run
        if self._own:
            flow = await self.server.ask("POST", "/flows/", {"name": told.flow})
            run = {"flow_id": flow["id"], "name": told.name, "parameters": told.parameters, "state": _state("RUNNING")}
            self._run = (await self.server.ask("POST", "/flow_runs/", run))["id"]
        self.server.patience = PATIENCE
        return url_for("flow-run", self._run) or f"flow run {self._run}"

    async def paint(self, told: Told) -> None:
        """Paint one thing. Raises LostError; what the server will not have is left out."""
        try:
            match told:
                case Start():
                    await self._start(told)
                case End():
                    await self._end(told)
                case Move():
                    await self._move(told)
                case Say():
                    await self._log(told.text, WARNING)
                case Keep():
                    await self._keep(told.name, told.form, told.title, told.data)
        except httpx.HTTPStatusError as refusal:
            say(_said(refusal), err=True)

    async def close(self, told: Close) -> None:
        """Say how the run ended, unless Prefect says so itself. Raises LostError."""
        if self._own:
            ended = {"state": _state(told.state, told.message), "force": True}
            await self.server.urge("POST", f"/flow_runs/{self._run}/set_state", ended)

    async def _start(self, told: Start) -> None:
        named = {"name": told.name, "task_key": told.name.split()[0], "dynamic_key": str(told.number)}
        stage = {"flow_run_id": self._run, "state": _state("RUNNING"), **named}
        self._stages[told.number] = asyncio.create_task(self.server.ask("POST", "/task_runs/", stage))
        await self._stages[told.number]

    async def _end(self, told: End) -> None:
        stage = await self._stages.pop(told.number)
        ended = {"state": _state(told.state, told.message), "force": True}
        await self.server.ask("POST", f"/task_runs/{stage['id']}/set_state", ended)

    async def _move(self, told: Move) -> None:
        """Of many that come while the server answers one, the latest is painted."""
        self._latest = told
        if self._moving.locked():
            return
        async with self._moving:
            while (latest := self._latest) is not None:
                self._latest = None
                await self._to(latest)

    async def _to(self, told: Move) -> None:
        if self._progress:
            changed = {"data": told.percent, "description": told.line}
            await self.server.ask("PATCH", f"/artifacts/{self._progress}", changed)
        else:
            self._progress = await self._keep("progress", "progress", told.line, told.percent)
        await self._log(told.line, INFO)

    async def _log(self, text: str, level: int) -> None:
        line = {"name": "seedbed", "level": level, "message": text, "flow_run_id": self._run}
        await self.server.ask("POST", "/logs/", [line | {"timestamp": datetime.now(UTC).isoformat()}])

    async def _keep(self, name: str, form: str, title: str, data: object) -> str:
        """Keep something under a key that is the recipe's in every run, so that Prefect shows its history; its id."""
        kept = {"key": f"{self._recipe}-{name}", "type": form, "description": title, "data": data}
        return str((await self.server.ask("POST", "/artifacts/", kept | {"flow_run_id": self._run}))["id"])


def _state(state: State | str, message: str = "") -> Fields:
    return {"type": state, "name": state.capitalize(), "message": message or None}


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER:g} s"
    return " ".join(str(error).split("\n")[0].split()) or type(error).__name__


async def paint(page: Page, lines: asyncio.StreamReader) -> None:
    """Paint what is told, and how it ended. Raises LostError, in a group."""
    begun = set[asyncio.Task[None]]()
    async with asyncio.TaskGroup() as group:
        end = KILLED
        async for told in _told(lines):
            if isinstance(told, Close):
                end = told
                break
            begun.add(task := group.create_task(page.paint(told)))
            task.add_done_callback(begun.discard)
        asyncio.get_running_loop().call_later(LAST, _stop)
        page.server.patience = REST
        if begun:
            await asyncio.wait(begun, timeout=REST)
        await page.close(end)


async def _told(lines: asyncio.StreamReader) -> AsyncIterator[Told]:
    while (line := await lines.readline()).endswith(b"\n"):
        yield TOLD.validate_json(line)


def _say(word: Word) -> None:
    with suppress(OSError):  # the run was killed
        os.write(1, word.model_dump_json().encode() + b"\n")  # to the run, which reads them


def _stop() -> None:
    _say(Word(lost=f"the last pictures were not painted within {LAST:g} s"))
    os._exit(0)


async def main() -> None:
    """Paint one run's page."""
    lines = asyncio.StreamReader(LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    begin = Begin.model_validate_json(await lines.readline())
    async with get_client() as client:
        page = Page(Server(client))
        try:
            _say(Word(url=await page.begin(begin)))
        except (LostError, httpx.HTTPStatusError) as refusal:
            return _say(Word(lost=_said(refusal)))
        try:
            await paint(page, lines)
        except* LostError as gone:
            _say(Word(lost=_said(gone.exceptions[0])))


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # whatever thread still looks for a host by its name
