"""A sample's life as people read it: why it was kept or dropped, where it comes from, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import streamlit as st

from seedbed.store import Store
from seedbed.store.lineage import Life, Row, calls
from seedbed.store.reviews import EVERY_DECISION
from ui.safe import Html, bullets, draw, line, stacked, struck, table, titled, words

TEXT_NAMES = {"context": "Context", "question": "Question", "answer": "Answer", "rejected": "Rejected answer"}


def draw_verdicts(rows: Sequence[Row]) -> None:
    """What each step said, in order, with score and threshold, and how it came to it."""
    columns = ("step", "verdict", "score", "at least", "reason", "judge")
    cells = [
        (row["step"], row["action"], row["score"], row["threshold"], row["reason"], row["model"] or "no model")
        for row in rows
    ]
    draw(table("What each step said, in order", columns, cells))
    for row in rows:
        if row["transcript"]:
            draw(titled(f"How {row['step']} came to it", _transcript(str(row["transcript"])), 3))


def draw_texts(life: Life) -> None:
    """The stored texts."""
    for name, title in TEXT_NAMES.items():
        if text := str(life.sample[name] or ""):
            draw(titled("Chosen answer" if name == "answer" and life.sample["rejected"] else title, words(text)))


def draw_relatives(life: Life) -> None:
    """Parents, children, and the versions that hold it."""
    own = life.sample["parents"]
    parents = [str(parent) for parent in own] if isinstance(own, list) else []
    known = {str(row["sample_id"]): row for row in life.parents}
    told = [f"{parent}: {known[parent]['question']}" if parent in known else parent for parent in parents]
    draw(titled("Made from", bullets(told) if told else line("no other sample"), 3))
    if life.children:
        made = [f"{row['sample_id']} ({row['kind']}, {row['status']})" for row in life.children]
        draw(titled("Made of it", bullets(made), 3))
    if life.versions:
        cells = [
            (row["version"], row["kept"], row["step"], row["reason"], row["changed_by_people"]) for row in life.versions
        ]
        draw(table("Versions that chose from it", ("version", "kept", "step", "reason", "changed by people"), cells))


def draw_reviews(rows: Sequence[Row], reviewer: str) -> None:
    """What people did to it. Others' decisions are told once one has decided oneself, so that nobody leans on them."""
    own = any(row["reviewer"] == reviewer and row["action"] in EVERY_DECISION and not row["undone"] for row in rows)
    hidden = [row for row in rows if row["reviewer"] != reviewer and row["action"] in EVERY_DECISION and not own]
    cells = [
        (
            row["reviewer"],
            _doing(row),
            row["note"],
            f"{row['created_at']:%Y-%m-%d %H:%M}",
            "undone" if row["undone"] else "",
        )
        for row in rows
        if row not in hidden
    ]
    if cells:
        draw(table("Reviews", ("reviewer", "action", "note", "when (UTC)", ""), cells))
    if hidden:
        draw(line(f"{len(hidden)} decisions of others are shown when you have decided it yourself."))
    if not rows:
        draw(titled("Reviews", line("nobody has reviewed it"), 3))


def draw_calls(store: Store, life: Life) -> None:
    """The model calls behind it; prompts and responses when asked for, since they are long."""
    if not life.call_ids:
        draw(titled("Calls", line("no model call is behind it"), 3))
        return
    if not st.toggle(f"Show its {len(life.call_ids)} model calls, prompt and response", key="calls"):
        return
    for call in calls(store, life.call_ids):
        facts = line(
            *(str(call["call_id"]), f"{call['model']} {call['revision']}"),
            *(f"{call['tokens_in']} tokens in", f"{call['tokens_out']} out", f"{call['seconds']:.2f} s"),
        )
        turns = [
            titled(str(turn["role"]), words(str(turn["content"])), 4) for turn in orjson.loads(str(call["prompt"]))
        ]
        answer = titled("response", words(str(call["response"])), 4)
        draw(titled(f"Call for {call['step']}", stacked(facts, *turns, answer), 3))


def _doing(row: Row) -> str:
    edit = f" ({', '.join(orjson.loads(str(row['edit'])))})" if row["edit"] else ""
    return f"{row['action']}{edit}{', in bulk' if row['bulk'] else ''}"


def _transcript(text: str) -> Html:
    """A critique is plain text; pairs, debates and revisions are JSON, told part by part."""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return words(text)
    if not isinstance(told, dict):
        return words(text)
    parts = [*_critique(told), *_opinions(told), *_turns(told), *_candidates(told)]
    attempt = told.get("attempt") or told
    if attempt.get("revised"):
        parts.append(titled(f"Revision: {attempt.get('outcome')}{_orders(attempt)}", words(str(attempt["revised"])), 4))
    return stacked(*parts) if parts else words(text)


def _critique(told: Row) -> list[Html]:
    names = {"critique": "Critique", "critique_after": "Critique of the revision"}
    return [titled(title, words(str(told[name])), 4) for name, title in names.items() if told.get(name)]


def _opinions(told: Row) -> list[Html]:
    opinions = told.get("opinions")
    if not isinstance(opinions, list) or not opinions:
        return []
    cells = [(one["model"], *map(float, one["orders"])) for one in opinions]
    return [
        table("Opinions without debate: probability that it is good", ("model", "asked", "asked the other way"), cells)
    ]


def _turns(told: Row) -> list[Html]:
    turns = told.get("turns")
    if not isinstance(turns, list) or not turns:
        return []
    parts = list[Html]()
    for turn in turns:
        parts.append(titled(f"Round {turn['round']}, {turn['side']}", words(str(turn["text"])), 4))
        if turn["struck"]:
            parts.append(struck("Struck out, since the text does not say it:", turn["struck"]))
    ruling = f"Ruling{_orders(told)}; decided by" if told.get("decisive") else f"Ruling{_orders(told)}"
    return [*parts, titled(ruling, words(str(told.get("decisive") or "no side won")), 4)]


def _candidates(told: Row) -> list[Html]:
    candidates, comparisons = told.get("candidates"), told.get("comparisons")
    if not isinstance(candidates, list):
        return []
    roles = {told.get("chosen"): "chosen", told.get("rejected"): "rejected"}
    parts = [
        titled(f"Candidate {n + 1} by {one['model']} {roles.get(n, '')}", words(str(one["text"])), 4)
        for n, one in enumerate(candidates)
    ]
    if isinstance(comparisons, list) and comparisons:
        cells = [
            (f"{c['a'] + 1} against {c['b'] + 1}", float(c["in_front"]), float(c["behind"]), _winner(c))
            for c in comparisons
        ]
        columns = ("candidates", "first wins, in front", "first wins, behind", "outcome")
        parts.append(table("Comparisons, asked in both orders", columns, cells))
    scores = told.get("scores")
    if isinstance(scores, list):
        rated = [(n + 1, float(score)) for n, score in enumerate(scores)]
        parts.append(table("Ratings", ("candidate", "score"), rated))
    return parts


def _winner(comparison: dict[str, float]) -> str:
    ahead = {comparison["in_front"] > 0.5, comparison["behind"] > 0.5}
    if len(ahead) > 1 or 0.5 in (comparison["in_front"], comparison["behind"]):
        return "tie"
    return f"{int(comparison['a' if ahead == {True} else 'b']) + 1} wins"


def _orders(told: Row) -> str:
    orders = told.get("orders")
    return f" ({orders[0]:.2f} and {orders[1]:.2f} in the two orders)" if isinstance(orders, list) else ""
