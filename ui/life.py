"""A sample's life as people read it: why it was kept or dropped, where it comes from, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import streamlit as st

from seedbed.conversation_json import content_of
from seedbed.kinds import EVERY_DECISION, KINDS
from seedbed.standing import counted
from seedbed.store import Store
from seedbed.store.lineage import Life, Row, calls
from seedbed.transcripts import Compared, Orders, Transcript, read
from ui.safe import Html, bullets, draw, line, stacked, struck, table, titled, words
from ui.turns import asked, further, known, labelled, responded, share, showing

SECOND_NAMES = {"rejected": ("Chosen answer", "Rejected answer"), "corrected": ("Answer", "Corrected answer")}


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


def draw_conversation(life: Life) -> None:
    """The stored conversation with its responses, who gave each, and what methods know of the row."""
    content = content_of(life.sample)
    written = st.toggle("Show the texts as they were written", key="written")
    whole = share(content) is None or st.toggle("Show all of it", key="whole")
    show = showing(content, not written, whole)
    second = KINDS[str(life.sample["kind"])].second
    names = SECOND_NAMES.get(second, ("Answer", "Other answer"))
    draw(asked(content, show))
    for title, name, one in zip(names, ("answer", "rejected"), content.responses, strict=False):
        by = f" by {one.author}" if one.author else ""
        draw(titled(f"{title}{by}", responded(one, name, show)))
    draw(labelled(content), further(content, show), known(content.facts))


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
            "yes" if row["undone"] else "",
        )
        for row in rows
        if row not in hidden
    ]
    if cells:
        draw(table("Reviews", ("reviewer", "action", "note", "when (UTC)", "undone"), cells))
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
            *(
                f"{counted(call['tokens_in'])} tokens in",
                f"{counted(call['tokens_out'])} out",
                f"{call['seconds']:.2f} s",
            ),
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
    """What a curator tells, part by part; a text of any other shape is shown as it stands."""
    told = read(text)
    if told is None:
        return words(text)
    parts = [*_votes(told), *_critiques(told), *_opinions(told), *_turns(told), *_candidates(told)]
    attempt = told.revision
    if attempt and attempt.revised:
        parts.append(titled(f"Revision: {attempt.outcome}{_orders(attempt.orders)}", words(attempt.revised), 4))
    return stacked(*parts) if parts else words(text)


def _votes(told: Transcript) -> list[Html]:
    return [titled(f"Vote {n}: {vote.yes:.2f} for yes", words(vote.review), 4) for n, vote in enumerate(told.votes, 1)]


def _critiques(told: Transcript) -> list[Html]:
    named = {"Critique": told.critique, "Critique of the revision": told.critique_after}
    return [titled(title, words(said), 4) for title, said in named.items() if said]


def _opinions(told: Transcript) -> list[Html]:
    if not told.opinions:
        return []
    cells = [(one.model, *one.orders) for one in told.opinions]
    return [
        table("Opinions without debate: probability that it is good", ("model", "asked", "asked the other way"), cells)
    ]


def _turns(told: Transcript) -> list[Html]:
    if not told.turns:
        return []
    parts = list[Html]()
    for turn in told.turns:
        parts.append(titled(f"Round {turn.round}, {turn.side}", words(turn.text), 4))
        if turn.struck:
            parts.append(struck("Struck out, since the text does not say it:", turn.struck))
    ruling = f"Ruling{_orders(told.orders)}{'; decided by' if told.decisive else ''}"
    return [*parts, titled(ruling, words(told.decisive or "no side won"), 4)]


def _candidates(told: Transcript) -> list[Html]:
    parts = [
        titled(f"Candidate {n + 1} by {one.model} {told.role(n)}", words(one.text), 4)
        for n, one in enumerate(told.candidates)
    ]
    if told.comparisons:
        cells = [(f"{c.a + 1} against {c.b + 1}", c.in_front, c.behind, _winner(c)) for c in told.comparisons]
        columns = ("candidates", "first wins, in front", "first wins, behind", "outcome")
        parts.append(table("Comparisons, asked in both orders", columns, cells))
    if told.scores:
        parts.append(table("Ratings", ("candidate", "score"), [(n, score) for n, score in enumerate(told.scores, 1)]))
    return parts


def _winner(comparison: Compared) -> str:
    ahead = {comparison.in_front > 0.5, comparison.behind > 0.5}
    if len(ahead) > 1 or 0.5 in (comparison.in_front, comparison.behind):
        return "tie"
    return f"{(comparison.a if ahead == {True} else comparison.b) + 1} wins"


def _orders(orders: Orders | None) -> str:
    return f" ({orders[0]:.2f} and {orders[1]:.2f} in the two orders)" if orders else ""
