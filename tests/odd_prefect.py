"""A Prefect server as one may meet it: what stands before the real one fails, is slow, is frozen, or is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import aiohttp
from aiohttp import web

SLOW = 5.0  # seconds an answer


class Odd:
    """Stands before a real server; `mode` says how it is from now on: well, failing, slow, frozen or gone."""

    def __init__(self, api: str) -> None:
        self._api, self.mode, self.url = api, "well", ""
        self._site: web.TCPSite | None = None

    async def handle(self, request: web.Request) -> web.Response:
        if self.mode == "failing":
            return web.Response(status=500, text="no")
        if self.mode == "frozen":
            await asyncio.sleep(3600)
        if self.mode == "slow":
            await asyncio.sleep(SLOW)
        if self.mode == "gone" and request.transport:
            request.transport.close()
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                self._api + request.path_qs.removeprefix("/api"),
                data=await request.read(),
                headers={"Content-Type": "application/json"},
            ) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async def serve(self, up: Future[asyncio.AbstractEventLoop], over: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api"
        up.set_result(asyncio.get_running_loop())
        await over.wait()
        await runner.cleanup()


@contextmanager
def before(api: str) -> Iterator[Odd]:
    odd, up, over = Odd(api), Future[asyncio.AbstractEventLoop](), asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(odd.serve(up, over)), daemon=True)
    thread.start()
    loop = up.result(30)
    try:
        yield odd
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
