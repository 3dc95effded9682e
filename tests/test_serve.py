"""Who may ask for the review pages, as a browser meets them; and that they end with the command that serves them."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import NamedTuple

import psutil
import pytest

from benchmarks.review import CHROMIUM, command
from tests.handmade import twenty
from tests.ports import free_port
from tests.test_ui_browser import browser

__all__ = ["browser"]  # a fixture
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
UPGRADE |= {"Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw=="}
SOCKET = "/_stcore/stream"
PATHS = ("/", "/coverage", "/_stcore/health", "/_stcore/host-config", "/favicon.png", "/media/nothing", SOCKET)
FOREIGN = ("evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example:{port}", "")


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    text: str


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    home, number = tmp_path_factory.mktemp("home"), free_port()
    twenty(home).close()
    with command(home, "review", "--port", str(number), "--reviewer", "anna") as process:
        assert process.stdout is not None and process.stdout.readline().startswith("Review at")
        yield number


def ask(port: int, path: str, host: str, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    given = {**({"Host": host} if host else {}), **(UPGRADE if path == SOCKET else {}), **headers}
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = "" if answer.status == 101 else answer.read().decode(errors="replace")
    connection.close()
    return Answer(answer.status, answer.headers, text)


def static(port: int) -> str:
    """A script of the pages' own."""
    found = re.search(r'src="\.?(/static/js/[^"]+)"', ask(port, "/", f"127.0.0.1:{port}").text)
    assert found
    return found[1]


@pytest.mark.parametrize("host", FOREIGN)
def test_another_host_gets_no_page_no_file_and_no_socket(port, host):
    for path in (*PATHS, static(port)):
        answer = ask(port, path, host.format(port=port))
        assert answer.status in (400, 403) and "streamlit" not in answer.text.lower(), path


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_gets_nothing_either(port, origin):
    for path in (*PATHS, static(port)):
        answer = ask(port, path, f"127.0.0.1:{port}", Origin=origin.format(port=port))
        assert answer.status == 403, path
        assert not answer.headers["access-control-allow-origin"]


def test_our_own_address_gets_all_and_a_refusal_names_it(port):
    own = f"127.0.0.1:{port}"
    assert [ask(port, path, own).status for path in ("/", static(port), "/_stcore/health")] == [200, 200, 200]
    assert ask(port, SOCKET, own, Origin=f"http://{own}").status == 101
    assert f"http://{own}" in ask(port, "/", f"localhost:{port}").text


def test_every_answer_tells_the_browser_to_frame_guess_and_fetch_nothing(port):
    own = f"127.0.0.1:{port}"
    for path in ("/", static(port), "/_stcore/health", "/media/nothing"):
        headers = ask(port, path, own).headers
        assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy
        assert not re.search(r"\*|https?:", policy), "nothing from anywhere else"


def test_a_browser_that_is_lured_by_a_name_or_a_frame_shows_no_page(browser, port):
    site = HTTPServer(("127.0.0.1", 0), partial(Luring, f"http://127.0.0.1:{port}/"))
    Thread(target=site.serve_forever, daemon=True).start()
    lured = browser.browser_type.launch(
        executable_path=browser_path(), args=[*CHROMIUM, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    )
    page = lured.new_page()
    page.goto(f"http://evil.example:{port}/")
    assert "for this machine only" in page.locator("body").inner_text()
    page.goto(f"http://evil.example:{site.server_port}/")
    page.wait_for_function("window.looked")
    frame = page.frames[-1]
    assert frame.url.startswith("chrome-error:") and "Seedbed" not in frame.content()
    assert page.evaluate("window.heard") == "refused", "a script of another site reads no answer"
    lured.close()
    site.shutdown()
    site.server_close()


def browser_path() -> str | None:
    import shutil

    return shutil.which("chromium")


class Luring(BaseHTTPRequestHandler):
    """A page of another site that frames ours, and reads what it can of it."""

    def __init__(self, ours: str, *given: object) -> None:
        self.ours = ours
        super().__init__(*given)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        page = (
            f'<iframe src="{self.ours}" onload="window.looked = true"></iframe><script>'
            f'fetch("{self.ours}_stcore/health").then(() => window.heard = "read", () => window.heard = "refused")'
            "</script>"
        )
        self.wfile.write(page.encode())

    def log_message(self, *_: object) -> None:
        """Nothing is worth a line."""


def test_the_pages_are_gone_when_their_command_is_killed(tmp_path):
    twenty(tmp_path).close()
    with command(tmp_path, "review", "--port", str(free_port())) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("Review at")
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
    assert children and not alive
