"""The keys in use are known, and stand nowhere in what Seedbed writes, whoever says them and however spelled."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.publication import Publication
from flows.publish import build
from flows.run import grow, read
from seedbed.credentials import STAND_INS, hidden, secrets_in, without_secrets
from seedbed.store import Store
from seedbed.yamlfile import BadInput
from tests.batch_provider import providing
from tests.grown import PASSED, rows, sample, scored, stored
from tests.test_run import recipe

KEY = "sk-Live+0123/4567=89_ab.CD~ef"
SPELLINGS = {
    "as it is": KEY,
    "in a header": f"Authorization: Bearer {KEY}",
    "in a URL": quote(KEY, safe=""),
    "in a URL, in small letters": quote(KEY, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "in a URL, every sign": "".join(f"%{ord(sign):02X}" for sign in KEY),
    "in JSON": json.dumps(KEY),
    "in JSON of PHP": json.dumps(KEY).replace("/", "\\/"),
    "in JSON of .NET": KEY.replace("+", "\\u002B"),
    "in JSON, every sign": "".join(f"\\u{ord(sign):04x}" for sign in KEY),
    "in JSON within JSON": json.dumps(json.dumps({"key": KEY}).replace("/", "\\/")),
    **{f"as Basic, {user}": "Basic " + b64encode(f"{user}:{KEY}".encode()).decode() for user in ("", "u", "us")},
    **{f"in base64, {n}": urlsafe_b64encode(f"{KEY}{'x' * n}".encode()).decode() for n in range(3)},
    "in Markdown": re.sub(r"([-_.~+=])", r"\\\1", KEY),
    "as Basic in JSON of PHP": b64encode(f":{KEY}?>".encode()).decode().replace("/", "\\/").replace("+", "\\u002b"),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_hidden_however_it_is_spelled(spelled):
    body = f'{{"error": "no \u00e9 {spelled} here", "n": 50}}'
    found = hidden(body.encode(), [KEY]).decode()
    assert "[secret]" in found and found.startswith('{"error": "no \u00e9 ') and found.endswith(' here", "n": 50}')
    assert len(found) <= len(body) - len(KEY) + len("[secret]") + 4, "but for the ends in base64 all of it is gone"
    assert secrets_in(body, [KEY])[:1] == [KEY] and "[secret]" in without_secrets(body, [KEY])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing of the kind",
        b"50 % off, C:\\users, \\u0041\\/\\n",
        KEY[:-1].encode(),
        KEY.upper().encode(),
        b"\xff\x00",
    ],
)
def test_what_holds_no_key_is_the_very_same_body(body):
    assert hidden(body, [KEY, "other-key-123456"]) is body


@pytest.mark.parametrize("stand_in", ["", "EMPTY", "none", "ollama", "\u00fcber-schl\u00fcssel", *sorted(STAND_INS)])
def test_a_stand_in_for_a_key_is_no_secret(stand_in):
    body = f"Set the key to {stand_in}.".encode()
    assert hidden(body, [stand_in]) is body and secrets_in(body.decode(), [stand_in]) == []


def test_two_keys_are_hidden_in_one_body():
    assert hidden(b"a sk-one-1234567 b sk-two-7654321 c", ["sk-one-1234567", "sk-two-7654321"]).count(b"[secret]") == 2


def test_a_row_that_holds_a_key_in_any_spelling_is_found_before_a_push_and_an_export(tmp_path, monkeypatch):
    monkeypatch.setenv("DESK_KEY", KEY)  # the recipe's api_key_env
    texts = list(SPELLINGS.values())
    made = [*rows(3), *((sample(10 + n, answer=f"So: {text}"), (PASSED, scored(4))) for n, text in enumerate(texts))]
    store = stored(tmp_path / "home", made)
    terms = Publication(license="cc-by-4.0", model_licences={"other-3b": "mit"})
    told = [problem for problem in build(store, "desk", tmp_path / "tree", terms).problems if "secret" in problem]
    assert sum(int(problem.split(": ")[1].split()[0]) for problem in told) == len(texts) and KEY not in str(told)
    done = CliRunner().invoke(app, ["export", "desk", str(tmp_path / "a.jsonl"), "--home", str(tmp_path / "home")])
    assert done.exit_code != 0 and "a key that is in use stands in the samples" in str(done.exception)
    assert f"{10:020d}" in str(done.exception) and not (tmp_path / "a.jsonl").exists()
    monkeypatch.delenv("DESK_KEY")
    done = CliRunner().invoke(app, ["export", "desk", str(tmp_path / "a.jsonl"), "--home", str(tmp_path / "home")])
    assert done.exit_code == 0, done.exception


def test_a_document_that_holds_a_key_is_refused_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("ODD_KEY", KEY)
    (tmp_path / "notes.md").write_text(f"Remember: {KEY}")
    path = recipe(
        tmp_path,
        "http://127.0.0.1:9/v1",
        model={"api_key_env": "ODD_KEY"},
        generate=[{"knowledge": {"documents": "*.md"}}],
    )
    with pytest.raises(BadInput, match=r"notes\.md holds the key in \$ODD_KEY\. Take it out") as told:
        read(path)
    assert KEY not in str(told.value)
    (tmp_path / "notes.md").write_text("Remember nothing.")
    assert read(path).leaves


def test_a_provider_whose_answers_repeat_the_key_gets_it_nowhere_in_a_home(tmp_path, monkeypatch, caplog):
    def repeat(page, said):
        return said.replace(b'"content":"', b'"content":"My key is %b, ' % KEY.encode()) if page == "content" else said

    leaf = tmp_path / "tax/greeting"
    leaf.mkdir(parents=True)
    (leaf / "qna.yaml").write_text("seed_examples:\n  - {question: Greet me, answer: Hello}\n")
    monkeypatch.setenv("ODD_KEY", KEY)
    with providing(seconds=0, twist=repeat) as provider:
        model = {"batch": True, "api_key_env": "ODD_KEY"}
        path = recipe(tmp_path, provider.base_url, 1, model=model, taxonomy="tax", curate=["rules"])
        outcome = asyncio.run(grow(read(path), tmp_path / "home"))
    found = Store(tmp_path / "home").rows("SELECT 1 FROM samples WHERE question LIKE '%My key is [secret],%'")
    assert found, outcome
    assert "repeats the key" in caplog.text and KEY not in f"{caplog.text}{outcome}"
    for path in (path for path in (tmp_path / "home").rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
