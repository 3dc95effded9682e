"""Serves the pages to this machine: `python -P -m ui.serve PORT`, which ends when whoever started it does.

A page of another site can have a browser ask 127.0.0.1, under a name of its own even. So whatever is asked for, files
and sockets too, is refused to another host or origin before Streamlit hears of it; and each answer tells the browser to
frame it nowhere, and to fetch nothing from elsewhere.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ADDRESS = "127.0.0.1"
PAGES = Path(__file__).with_name("app.py")
# Said outright, whatever a configuration file says: by default Streamlit listens to the whole network.
SETTINGS: dict[str, object] = {
    "browser.gatherUsageStats": False,
    "browser.serverAddress": ADDRESS,
    "client.allowedOrigins": [],  # who may frame the pages and talk to them: by default Streamlit's own cloud
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "minimal",
    "global.developmentMode": False,
    "logger.hideWelcomeMessage": True,
    "runner.fastReruns": False,  # one thread a session at a time: two would store one decision twice
    "runner.magicEnabled": False,
    "runner.postScriptGC": False,  # a full collection after every key press was two thirds of its time
    "server.address": ADDRESS,
    "server.allowedHosts": [ADDRESS],
    "server.baseUrlPath": "",
    "server.corsAllowedOrigins": [],
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableStaticServing": False,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 1,
    "server.sslCertFile": "",
    "server.sslKeyFile": "",
    "server.trustedUserHeaders": {},
}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Streamlit's own pages write styles and scripts inline, and its charts compile expressions.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws://{host} data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HOST = re.compile(re.escape(ADDRESS) + r"(:\d{1,5})?")


def door(pages: ASGIApp) -> ASGIApp:
    """The pages, for those who ask for them by this machine's own address and from no other site."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await pages(scope, receive, send)
        if not ours(Headers(scope=scope)):
            return await _refusal(scope)(scope, receive, send)
        return await pages(scope, receive, _armed(scope, send))

    return serve


def ours(headers: Headers) -> bool:
    """Whether a request names this address as its host, once, and comes from a page of it or from no page."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    return len(hosts) == 1 and bool(_HOST.fullmatch(hosts[0])) and set(origins) <= {f"http://{hosts[0]}"}


def _refusal(scope: Scope) -> ASGIApp:
    if scope["type"] == "websocket":
        return WebSocketClose()
    _, port = scope["server"]
    return PlainTextResponse(f"These pages are for this machine only: http://{ADDRESS}:{port}\n", 403, HEADERS)


def _armed(scope: Scope, send: Send) -> Send:
    """Send, with our headers on the beginning of each answer."""
    policy = POLICY.format(host=Headers(scope=scope)["host"])

    async def armed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS | {"Content-Security-Policy": policy})
        await send(message)

    return armed


def _end_with_parent() -> None:
    """The parent holds our standard input open and never writes: once it is closed, nobody looks after the pages."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(port: int) -> None:
    """Serve until told to end."""
    _end_with_parent()
    from starlette.middleware import Middleware
    from streamlit import App

    App(PAGES, middleware=[Middleware(door)]).run(config={**SETTINGS, "server.port": port})


if __name__ == "__main__":
    main(int(sys.argv[1]))
