"""Versions made with the selectors of their run, as its steps tell of them, ready to be taken again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from duckdb import DuckDBPyRelation
from pydantic import BaseModel

from flows.edits import check_edits
from flows.methods import methods
from seedbed.errors import InputError
from seedbed.store import Store
from seedbed.store.edits import steps_of_runs
from seedbed.store.selecting import Said, Selection
from seedbed.store.versions import Version, find_version, refilter


def selections_of(store: Store, run_id: str) -> list[Selection]:
    """The barrier selectors of a run, in their order.

    Raises:
        InputError: a package that one is from is not installed.
    """
    found, known = list[Selection](), methods().selectors
    for step in steps_of_runs(store):
        if step["run_id"] != run_id or step["role"] != "selector":
            continue
        name, method = str(step["step"]), str(step["method"])
        if method not in known:
            raise InputError(f"the selector {method!r} of this run is not there: install the package that it is from")
        selector = known[method]
        if selector.select:
            options = selector.options.model_validate_json(str(step["options"]))
            found.append(Selection(name, method, _bound(selector.select, options)))
    return found


def _bound(
    select: Callable[[DuckDBPyRelation, BaseModel], Said], options: BaseModel
) -> Callable[[DuckDBPyRelation], Said]:
    return lambda rows: select(rows, options)


def refiltered(store: Store, name: str, thresholds: Mapping[str, float]) -> Version:
    """A version like the named one under other thresholds and with the reviews since, its selectors taken again.

    Raises:
        InputError: there is no such version, a step gives no score under a threshold, or a selector is not there.
    """
    parent = find_version(store, name)
    [row] = store.rows("SELECT run_id FROM versions WHERE version = ?", [parent])
    check_edits(store)
    return refilter(store, parent, thresholds, selections_of(store, str(row["run_id"])))
