"""A provider's batch API in a thread of the test: files, batches and what they cost. It answers as the mock server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import contextmanager
from hashlib import blake2b

import orjson
from aiohttp import web

from benchmarks.mock_server import completion, read_flags


class Provider:
    """`seconds` from a batch's creation to its end; `end` is how it ends; `bad` of its calls, by number, get errors.

    `twist` is given each page's name (files, create, one, all, content) and what it says, and says something else.
    """

    def __init__(self, seconds=0.3, end="completed", bad=(), lost_answers=0, unanswered=(), twist=None):
        self.twist = twist or (lambda page, said: said)
        self.seconds, self.end, self.bad, self.unanswered = seconds, end, bad, unanswered
        self.lost_answers = lost_answers  # so many creations are done, and the connection is cut before the answer
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, object]] = {}
        self.paid: Counter[str] = Counter()
        self.base_url = ""

    async def upload(self, request):
        form = await request.post()
        assert form["purpose"] == "batch"
        return self.says("files", {"object": "file", "id": self.keep(form["file"].file.read())})

    def says(self, page, said):
        told = self.twist(page, said)
        return web.Response(body=told) if isinstance(told, bytes) else web.json_response(told)

    def keep(self, content):
        self.files[f"file-{len(self.files)}"] = content
        return f"file-{len(self.files) - 1}"

    async def create(self, request):
        wanted = await request.json()
        assert wanted["endpoint"] == "/v1/chat/completions" and wanted["completion_window"] == "24h"
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"object": "batch", "id": name, "status": "in_progress", "at": time.monotonic(), **wanted}
        if self.end != "failed":
            self.paid.update(orjson.loads(line)["custom_id"] for line in self.lines(name))
        if self.lost_answers:
            self.lost_answers -= 1
            request.transport.abort()
        return self.says("create", self.batches[name])

    def lines(self, name):
        return self.files[str(self.batches[name]["input_file_id"])].splitlines()

    def look(self, name):
        batch = self.batches[name]
        if batch["status"] == "in_progress" and time.monotonic() - float(str(batch["at"])) >= self.seconds:
            batch["status"] = self.end
            if self.end == "failed":
                batch["errors"] = {"data": [{"message": "the model has no batch quota"}]}
            else:
                good, bad = self.answer(name)
                batch["output_file_id"], batch["error_file_id"] = self.keep(good), self.keep(bad) if bad else None
        return batch

    def answer(self, name):
        parts: tuple[list[bytes], list[bytes]] = ([], [])
        for n, line in enumerate(self.lines(name)):
            call = orjson.loads(line)
            assert call["method"] == "POST" and call["url"] == "/v1/chat/completions"
            if n in self.unanswered:
                continue
            body = orjson.dumps(call["body"])
            if n in self.bad:
                response = {"status_code": 400, "body": {"error": {"message": "too long for the context"}}}
            else:
                answer = completion(body, blake2b(body, digest_size=16).digest(), read_flags([]))
                response = {"status_code": 200, "body": orjson.loads(answer)}
            found = {"custom_id": call["custom_id"], "response": response, "error": None}
            parts[n in self.bad].insert(0, orjson.dumps(found))  # in another order than they were sent
        return b"\n".join(parts[0]), b"\n".join(parts[1])

    async def one(self, request):
        return self.says("one", self.look(request.match_info["name"]))

    async def all(self, request):
        """Two to a page."""
        names = sorted(self.batches, key=lambda name: int(name.split("-")[1]), reverse=True)
        after = request.query.get("after")
        rest = names[names.index(after) + 1 :] if after else names
        data = [self.look(name) for name in rest[:2]]
        return self.says("all", {"object": "list", "data": data, "has_more": len(rest) > 2})

    async def content(self, request):
        return self.says("content", self.files[request.match_info["name"]])

    def app(self):
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{name}/content", self.content)
        app.router.add_post("/v1/batches", self.create)
        app.router.add_get("/v1/batches", self.all)
        app.router.add_get("/v1/batches/{name}", self.one)
        return app


@contextmanager
def providing(**how):
    """A Provider at work, with its base_url."""
    provider, loop, ready = Provider(**how), asyncio.new_event_loop(), threading.Event()

    async def serve():
        runner = web.AppRunner(provider.app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()

    def work():
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
