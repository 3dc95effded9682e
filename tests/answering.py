"""A server of this process that a test scripts: one function from a request to what comes back."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from flows.run import Outcome, grow, read

Request = Mapping[str, Any]
Answer = Mapping[str, object]
Script = Callable[[Request], "Answer | tuple[int, Answer]"]

QUESTIONS = {
    "How do I descale a kettle?": "Boil equal parts of water and vinegar in it, wait an hour, then rinse twice.",
    "How can I stop a door from squeaking?": "Put a drop of oil on each hinge and move the door a few times.",
    "What keeps ants out of a kitchen?": "Wipe their trail with vinegar and seal the crack they come through.",
    "How do I dry wet shoes quickly?": "Stuff them with newspaper and change it every hour.",
    "How do I sharpen scissors at home?": "Cut through folded aluminium foil ten times.",
    "How do I clean a window without streaks?": "Wipe it with diluted vinegar and a dry microfibre cloth.",
}


@dataclass
class Answering:
    """Where it is, and what it was asked in order."""

    base_url: str
    asked: list[Request] = field(default_factory=list)

    def bodies(self, of: str) -> list[str]:
        """The requests, as text, whose first turn holds these words."""
        return [repr(request) for request in self.asked if of in system(request)]


def system(request: Request) -> str:
    return str(request["messages"][0]["content"])


def last(request: Request) -> str:
    return str(request["messages"][-1]["content"])


def chat(
    content: object, finish: str | None = "stop", usage: object = (100, 20), **message: object
) -> dict[str, object]:
    """A completion with these words; `usage` None leaves its counts out."""
    told = {"prompt_tokens": usage[0], "completion_tokens": usage[1]} if isinstance(usage, tuple) else None
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return {"object": "chat.completion", "choices": [choice], "usage": told}


def odds(chances: Mapping[str, float]) -> dict[str, object]:
    """A completion of one token with these odds."""
    found = chat(max(chances, key=chances.__getitem__), "length", (100, 1))
    likely = [{"token": token, "logprob": math.log(p)} for token, p in chances.items()]
    choices = found["choices"]
    assert isinstance(choices, list)
    choices[0]["logprobs"] = {"content": [{"token": "x", "top_logprobs": likely}]}
    return found


def kindly(request: Request) -> dict[str, object]:
    """A sound answer to whatever Seedbed asks: the questions in turn, each with its answer, favourable judgements."""
    asked = system(request)
    if request.get("logprobs"):
        for sign, chances in (
            ("Say 1 if", {"3": 0.9, "2": 0.08}),
            ("Say 0 if", {"2": 0.95, "1": 0.04}),
            ("from 1 to 5", {"5": 0.8, "4": 0.19}),
            ("letter only", {"A": 0.5, "B": 0.49}),
        ):
            if sign in asked:
                return odds(chances)
        return odds({"yes": 0.95, "no": 0.04})
    if "You write requests" in asked:
        return chat(list(QUESTIONS)[int(request["seed"]) % len(QUESTIONS)])
    if "Answer correctly" in asked:
        return chat(QUESTIONS.get(last(request), "Keep it dry and clean it once a week."))
    return chat("It has no fault.")


@contextmanager
def answering(script: Script = kindly) -> Iterator[Answering]:
    """The server, while the block lasts."""
    loop, told = asyncio.new_event_loop(), Answering("")

    async def post(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"data": [{"id": "m"}]})
        body = await request.json()
        told.asked.append(body)
        made = script(body)
        status, answer = made if isinstance(made, tuple) else (200, made)
        return web.json_response(answer, status=status)

    async def begin() -> web.AppRunner:
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{page:.*}", post)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    runner = loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def grown(path: Any, home: Any) -> Outcome:
    """A run of a recipe in this process."""
    return asyncio.run(grow(read(path), home))
