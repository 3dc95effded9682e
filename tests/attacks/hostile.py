"""Text as an attacker would write it, a store full of it, and a server that answers with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from seedbed.engines import ModelCard
from seedbed.records import Verdict
from seedbed.store import Store
from tests import grown

EVIL = (
    "clear\x1b[2J\x1b[H title\x1b]0;owned\x07 clip\x1b]52;c;cm0gLXJm\x07 link\x1b]8;;http://x.example\x1b\\y\x1b]8;;\x1b\\"
    " csi\x9b31m osc\x9d0;x\x9c over\rwritten back\x08\x08\x08 del\x7f nel\x85 line\u2028 "
    "bidi\u202egnp.exe\u2066x\u2069\u200f hide\u200b\ufeff\u2060\U000e0041 [bold]m[/] [/b] [red :smile: \N{SNOWMAN}"
)
# What may never come out: controls but newline, and characters that reorder or hide.
OBEYED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


def store(home: Path) -> Store:
    """A home in which every text but the recipe's name is hostile, with two versions."""
    rows = []
    for n in range(4):
        dropped = {"status": "dropped", "step": "critique", "reason": EVIL} if n == 2 else {}
        texts = {"question": f"q{n} {EVIL}", "answer": f"a{n} {EVIL}", "context": EVIL, "model": EVIL}
        said = Verdict(step="rules", curator="rules", keep=n != 2, reason=EVIL, transcript=EVIL, call_ids=("c1",))
        rows.append(
            (
                grown.sample(n, "instruction", leaf=f"leaf/{EVIL.replace('/', ' ')}", **texts, **dropped),
                (said, grown.scored(4.2, "")),
            )
        )
    found = grown.stored(home, rows, {"model": ModelCard("http", EVIL, EVIL, "MIT"), "judge": grown.JUDGE})
    prompt = json.dumps([{"role": "user", "content": EVIL}])
    with found.writing() as db:
        db.execute("UPDATE base.runs SET status = 'failed', message = ?", [EVIL])
        db.execute(
            "INSERT INTO base.calls (call_id, run_id, step, model, revision, prompt, response, tokens_in, tokens_out, "
            "seconds, status, created_at) "
            "VALUES ('c1', 'run1', 'rules', $evil, $evil, $prompt, $evil, 1, 2, 0.5, 'ok', now()::TIMESTAMP)",
            {"evil": EVIL, "prompt": prompt},
        )
    return found


@contextmanager
def server(refuses: bool = False) -> Iterator[str]:
    """The base URL of a server whose every answer is hostile; or that refuses every call in hostile words."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = {"error": {"message": EVIL}} if refuses else _answer(asked)
            body = json.dumps(said).encode()
            self.send_response(400 if refuses else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/v1"
    finally:
        listening.shutdown()
        listening.server_close()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Other words for each prompt, and a favourable judgement: each group of options holds nearly all by itself."""
    words = f"{EVIL} {hash(json.dumps(asked['messages']))}"
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": words}}
    if asked.get("logprobs"):
        odds = {"yes": 0.9, "no": 0.08, "3": 0.45, "5": 0.5, "A": 0.5, "B": 0.48}
        tops = [{"token": token, "logprob": math.log(p)} for token, p in odds.items()]
        choice["logprobs"] = {"content": [{"token": "yes", "logprob": math.log(0.9), "top_logprobs": tops}]}
    return {"choices": [choice], "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
