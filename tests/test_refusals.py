"""What a server's refusal comes to: which key of the recipe to set, or which request is turned down for good."""

from __future__ import annotations

import gzip
import json

import pytest
from aiohttp import web

from seedbed.asking import Asked, Asking
from seedbed.engines import EngineError, EngineGone, EngineRefused
from seedbed.engines.http import Server
from seedbed.engines.wire import ANSWER_BYTES
from seedbed.replies import Unreadable
from tests.test_http import HELLO, choose, completion, talk, top

OPENAI = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
HEAT = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported."
MISTRAL = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
TEMPLATE = {"error": {"message": "System role not supported"}}


def error(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


def refused(status, body):
    return talk(
        lambda: web.json_response(body, status=status), call=choose("A", "B") if "logprob" in str(body) else ask
    )


def ask(engine):
    return engine.chat(HELLO, step="answer")


@pytest.mark.parametrize(
    ("status", "body", "write"),
    [
        (400, error(OPENAI, param="max_tokens"), "rename: {max_tokens: max_completion_tokens}"),
        (400, error(HEAT, param="temperature"), "omit: [temperature]"),
        (422, MISTRAL, "omit: [seed]"),
        (400, error("top_logprobs must be between 0 and 5", param="top_logprobs"), "top_logprobs: 5"),
        (403, error("You are not allowed to request logprobs from this model"), "judge: {engine"),
        (400, TEMPLATE, "system_role: false"),
        (400, error("stream is not implemented"), "omit: [stream]"),
        (404, error("The model `m` does not exist"), "Check the model's name"),
        (401, error("Incorrect API key provided"), "api_key_env"),
        (402, error("Payment required"), "top up the account"),
        (429, error("You exceeded your current quota", code="insufficient_quota"), "top up the account"),
    ],
)
def test_what_every_call_would_hear_stops_the_run_with_the_servers_words_and_what_to_write(status, body, write):
    gone, seen, _ = refused(status, body)
    assert isinstance(gone, EngineGone) and len(seen) == 1
    said = body["error"]["message"] if "error" in body else "Extra inputs are not permitted"
    assert f"HTTP {status}" in str(gone) and said.rstrip(".") in str(gone) and write in str(gone)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens", "too long"),
        (400, "'max_tokens' is too large: 9000. The maximum context length is 4096", "too long"),
        (413, "Request Entity Too Large", "too long"),
        (400, "The response was filtered due to Azure OpenAI's content management policy", "not allowed"),
        (403, "Your request was flagged by our moderation", "not allowed"),
        (422, "cannot process this", "HTTP 422"),
    ],
)
def test_what_one_prompt_is_turned_down_for_is_said_of_that_prompt_alone(status, message, kind):
    turned_down, seen, _ = refused(status, error(message))
    assert isinstance(turned_down, EngineRefused) and kind in turned_down.kind and len(seen) == 1


def test_a_busy_minute_and_a_spent_quota_are_told_apart():
    busy = lambda: web.json_response(error("Rate limit reached, try again in 2s"), status=429)  # noqa: E731
    reply, seen, _ = talk(busy, completion)
    assert reply.text == "fine" and len(seen) == 2


def test_the_servers_own_words_are_told_whole():
    long = "This is why: " + "because " * 200 + "of the last word"
    told, _, _ = refused(400, error(long))
    assert "of the last word" in str(told)


def test_an_error_in_the_place_of_an_answer_counts_by_the_status_that_it_names():
    told, seen, _ = talk(lambda: web.json_response(error("Insufficient credits", code=402)))
    assert isinstance(told, EngineGone) and "top up" in str(told) and len(seen) == 1
    reply, seen, _ = talk(lambda: web.json_response(error("Upstream hiccup", code=502)), completion)
    assert reply.text == "fine" and len(seen) == 2


def test_a_stream_that_nobody_asked_for_is_named_at_once():
    told, seen, _ = talk(lambda: web.Response(text='data: {"choices": []}\n\n', content_type="text/event-stream"))
    assert isinstance(told, EngineGone) and "stream: false" in str(told) and len(seen) == 1


def test_an_odd_answer_is_paid_for_once():
    told, seen, _ = talk(lambda: web.json_response({"choices": [], "usage": {"prompt_tokens": 7}}))
    assert isinstance(told, Unreadable) and told.tokens == (7, None) and len(seen) == 1


def test_a_recipe_says_which_fields_a_server_gets_and_under_which_names():
    asking = Asking(
        thinking=False, template={"lang": "no"}, extra={"top_k": 5}, steps={"answer": Asked(extra={"top_k": 9})}
    )
    server = Server(
        omit=("seed", "top_p"),
        rename={"max_tokens": "max_completion_tokens"},
        headers={"X-Team": "desk"},
        query={"api-version": "2024-10-21"},
        top_logprobs=5,
    )
    _, [(request, raw)], _ = talk(completion, call=ask, asking=asking, server=server)
    sent = json.loads(raw)
    assert sent.keys() & {"seed", "top_p", "max_tokens"} == set() and sent["max_completion_tokens"] == 1024
    assert sent["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False, "lang": "no"}
    assert sent["top_k"] == 9 and request.headers["X-Team"] == "desk" and request.query["api-version"] == "2024-10-21"
    odds = lambda: completion("A", top(("A", 0.9)))  # noqa: E731
    _, [(_, raw)], _ = talk(odds, call=choose("A", "B"), asking=asking, server=server)
    sent = json.loads(raw)
    assert sent["top_logprobs"] == 5 and sent["top_k"] == 5 and sent["chat_template_kwargs"]["thinking"] is False


def test_a_model_without_a_system_role_gets_its_text_before_the_users():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    _, [(_, raw)], _ = talk(
        completion, call=lambda engine: engine.chat(turns, step="t"), asking=Asking(system_role=False)
    )
    assert json.loads(raw)["messages"] == [{"role": "user", "content": "Be brief.\n\nWhy?"}]


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_without_bounds_is_left_and_not_asked_for_again(packed):
    body = b" " * (ANSWER_BYTES + 1)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    told, seen, _ = talk(lambda: web.Response(body=gzip.compress(body) if packed else body, headers=headers))
    assert isinstance(told, Unreadable) and "more than 16,777,216 bytes" in str(told) and len(seen) == 1


def test_a_packed_answer_is_read_though_nobody_asked_for_it():
    body = gzip.compress(completion("packed").body)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    reply, _, _ = talk(lambda: web.Response(body=body, headers=headers))
    assert reply.text == "packed"


def test_a_key_that_a_model_repeats_is_in_no_answer():
    reply, _, _ = talk(lambda: completion("Your key is sk-abcdefghijklmnop."), api_key="sk-abcdefghijklmnop")
    assert reply.text == "Your key is [secret]."


def test_a_header_from_the_environment_is_a_secret_too():
    server = Server(headers={"X-Key": "quietly-held-value"}, secrets=("quietly-held-value",))
    told, _, _ = talk(lambda: web.json_response(error("you sent quietly-held-value"), status=400), server=server)
    assert isinstance(told, EngineError) and "quietly-held" not in str(told)
