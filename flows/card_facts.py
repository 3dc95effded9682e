"""From the store's rows to the facts of a card: what strangers may read, and nothing of where it was made.

Servers, folders and names of reviewers stay at home: a model that is a folder is called by its last part, an error of
an engine is told without its address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from exporters.facts import UNKNOWN, Decontamination, Facts, Judge, Leaf, LeftOut, People, Teacher
from flows.languages import measured
from flows.publication import Publication
from seedbed.engines.smollm2 import NAME as EMBEDDED
from seedbed.store import Store
from seedbed.store.provenance import origin
from seedbed.store.runs import ENGINE_FAILURE

Row = Mapping[str, Any]  # a row of a query, whose columns seedbed/store/provenance.py names

# No matter to anybody else.
AT_HOME = {
    *("base_url", "api_key_env", "concurrency", "timeout", "retries", "price", "budget"),
    *("servers", "start_timeout"),
}
WRITER, JUDGE = "model", "judge"
ROLES = {WRITER: "writer", JUDGE: "judge"}
_ADDRESS = re.compile(r"\w{1,32}://\S+")


def facts_of(store: Store, version: str, publication: Publication) -> Facts:
    """Everything that is told of a version. Raises InputError through the store where there is none."""
    told: Row = origin(store, version)
    [people] = told["people"]
    given = publication.language
    checked = {code for step in told["recipe_json"]["curate"] for code in step["options"].get("languages", ())}
    languages, looked_at = (given, 0) if given else measured(store, version, people["published"], checked)
    return Facts(
        repo=publication.repo,
        license=publication.license,
        languages=languages,
        pretty_name=publication.pretty_name or version,
        version=version,
        parent=told["parent"],
        recipe_name=told["recipe"],
        recipe=public_recipe(told["recipe_json"]),
        thresholds=told["thresholds"],
        created=f"{told['created_at']:%Y-%m-%d}",
        run_ids=tuple(told["run_ids"]),
        held_out=publication.held_out,
        published=people["published"],
        candidates=people["candidates"],
        teachers=_teachers(told["models"], told["authors"], publication.model_licences),
        judge_wrote=any(cards[WRITER] == cards[JUDGE] for cards in told["models"]) and bool(told["judges"]),
        funnel=tuple(LeftOut(r["step"], r["judged"], _public(r["reason"]), r["left_out"]) for r in told["funnel"]),
        leaves=tuple(map(_leaf, told["leaves"])),
        judges=tuple(map(_judge, told["judges"])),
        people=People(**{name: people[name] for name in ("reviewed", "edited", "turned", "dropped", "reviewers")}),
        decontamination=_decontamination(told["recipe_json"], told["checked"], told["found"]),
        kinds=frozenset(told["kinds"]),
        seedbed=installed("seedbed"),
        measured=looked_at,
        found=told["found_rows"],
    )


def public_recipe(value: Any) -> Any:  # noqa: ANN401 # JSON, as deep as it is
    """A recipe without what tells where it ran: servers, limits, and folders but for their last part."""
    if isinstance(value, dict):
        return {key: public_recipe(item) for key, item in value.items() if key not in AT_HOME}
    if isinstance(value, list):
        return [public_recipe(item) for item in value]
    return last_part(value) if isinstance(value, str) else value


def last_part(name: str) -> str:
    """A path's last part; any other text as it is."""
    paths: tuple[PurePath, ...] = (PurePosixPath(name), PureWindowsPath(name))
    found = next((path.name for path in paths if path.is_absolute()), "") if "\n" not in name else ""
    return found or name


def _public(reason: str) -> str:
    if reason.startswith(ENGINE_FAILURE):
        return "the engine did not answer"
    return _ADDRESS.sub("(an address)", reason)


def _teachers(
    models: Sequence[Mapping[str, Row]], authors: Iterable[Row], licences: Mapping[str, str]
) -> tuple[Teacher, ...]:
    """Every model of the runs, then whoever else wrote an answer; a licence that one run knows holds for all."""
    rows = {last_part(str(row["author"])): int(row["rows"]) for row in authors}
    cards: dict[tuple[str, str], tuple[dict[str, None], str]] = {}
    for role, card in (pair for run in models for pair in run.items()):
        key = last_part(card["model"]), card["revision"]
        roles, licence = cards.get(key, ({}, UNKNOWN))
        roles[ROLES.get(role, "answers beside the writer")] = None
        cards[key] = roles, card["licence"] if licence == UNKNOWN else licence
    for name in rows:
        if not any(known == name for known, _ in cards):
            cards[name, ""] = {"recorded answers": None}, UNKNOWN
    return tuple(
        Teacher(name, revision, licences.get(name, licence), tuple(roles), rows.get(name, 0), name == EMBEDDED)
        for (name, revision), (roles, licence) in cards.items()
    )


def _leaf(row: Row) -> Leaf:
    counts = {name: row[name] for name in ("method", "target", "made", "kept", "dropped", "failed")}
    return Leaf(name=row["leaf"], main_reason=_public(row["main_reason"]), **counts)


def _judge(row: Row) -> Judge:
    rates = {name: row[name] for name in ("curator", "judged", "agreement", "kappa", "flip_rate", "length_bias")}
    return Judge(
        model=last_part(row["model"]),
        n=row["agreement_n"] or 0,
        compared=row["compared"] or 0,
        drawn_n=row["drawn_n"] or 0,
        drawn_agreement=row["drawn_agreement"],
        **rates,
    )


def _decontamination(recipe: Row, checked: Sequence[Row], found: Sequence[Row]) -> tuple[Decontamination, ...]:
    """The recipe's decontaminating steps, each with what its verdicts say."""
    steps = [step["options"] for step in recipe["curate"] if step["name"] == "decontaminate"]
    names = [f"decontaminate-{n}" if n > 1 else "decontaminate" for n in range(1, len(steps) + 1)]
    counts = {row["step"]: row for row in checked}
    nothing = {"checked": 0, "published": 0, "changed_after": 0}
    return tuple(
        Decontamination(
            step=name,
            files=tuple(file["name"] for file in options["against"]),
            words=options["words"],
            found=tuple((_public(row["reason"]), row["n"]) for row in found if row["step"] == name),
            **{key: counts.get(name, nothing)[key] for key in nothing},
        )
        for name, options in zip(names, steps, strict=True)
    )
