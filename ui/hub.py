"""Publish's way to the Hub: build the tree and look at it, card and all; then, at a second press, push just that."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from exporters.hub_client import HubError
from flows.publish import Built, build, push, read_publication
from flows.show_publish import told_changes
from seedbed.errors import InputError
from seedbed.store import Store, StoreError
from seedbed.yamlfile import BadInput
from ui import desk
from ui.markdown import rendered
from ui.safe import bullets, draw, line, literal, table, titled

BUILT = "built tree"  # in the session: what was typed, and what came of it
FENCE = "---\n"


class Wanted(NamedTuple):
    """What was typed."""

    version: str
    repo: str
    license: str
    options: str
    public: bool

    def command(self) -> str:
        """The same on the command line."""
        words = ["seedbed", "push", self.version, self.repo or "OWNER/NAME"]
        words += ["--options", self.options or "OPTIONS.yaml"] if self.options or self.license else []
        return shlex.join([*words, *(["--public"] if self.public else [])]) + desk.there()


def section(store: Store, version: str) -> None:
    """The form, what was built from it, and the button that sends it."""
    st.header("Publish on the Hub")
    if "is_logged_in" in st.user:  # the token is this machine's, and whoever signs in is not its owner
        draw(line("Who publishes does it on this machine; here it stays a command, first as a dry run:"))
        st.code(Wanted(version, "", "", "", False).command(), language=None, wrap_lines=True)
        return
    draw(line("First a dry run: the tree is built here and looked at, and nothing is sent."))
    wanted = _asked(version)
    if wanted and _build(store, wanted):
        st.rerun()
    typed, built = st.session_state.get(BUILT, (None, None))
    shown = typed if built and typed.version == version else Wanted(version, "", "", "", False)
    draw(line("The same on the command line:"))
    st.code(shown.command(), language=None, wrap_lines=True)
    if built and shown is typed:
        _show(built)


def _asked(version: str) -> Wanted | None:
    with st.form("hub", border=False):
        with st.container(horizontal=True):
            repo = st.text_input("Data set", key="repo", placeholder="OWNER/NAME", width=280)
            licence = st.text_input("Licence of the data", key="licence", placeholder="such as cc-by-4.0", width=220)
            options = st.text_input(
                "Options file", key="options", placeholder="such as recipes/publish.yaml", width=280
            )
        public = st.toggle("Everybody may see it", key="public")
        sent = st.form_submit_button("Build and look")
    wanted = Wanted(version, (repo or "").strip(), (licence or "").strip(), (options or "").strip(), public)
    return wanted if sent else None


def _build(store: Store, wanted: Wanted) -> bool:
    """Build the tree; false where the fault is told instead."""
    st.session_state.pop(BUILT, None)
    given = {"repo": wanted.repo, "license": wanted.license, "public": wanted.public}
    try:
        with st.spinner("Building the tree and looking at it …"):
            publication = read_publication(
                Path(wanted.options) if wanted.options else None,
                {name: value for name, value in given.items() if value},
            )
            st.session_state[BUILT] = (wanted, build(store, wanted.version, None, publication))
    except (BadInput, InputError, StoreError, OSError) as error:
        st.error(literal(error))
        return False
    return True


def _show(built: Built) -> None:
    cells = [(file.path, file.rows, file.size) for file in built.files]
    draw(table(f"The tree in {built.folder}", ("file", "rows", "bytes"), cells))
    draw(titled("What was looked at", bullets(built.notes), 3))
    draw(titled(f"What would change: {built.publication.repo or 'no data set named'}", bullets(told_changes(built)), 3))
    with st.expander("The card"):
        front, text = _halves(built.card)
        draw(rendered(text, top=4))
        st.code(front, language=None, wrap_lines=True)
    faults = list(_faults(built))
    for fault in faults:
        st.error(literal(fault))
    if faults:
        return
    seen = "public" if built.publication.public else "private"
    if st.button(literal(f"Publish exactly this, {seen}, as {built.publication.repo}"), type="primary", key="push"):
        _push(built)


def _faults(built: Built) -> Iterator[str]:
    """Why it cannot be pushed as it is."""
    yield from built.problems
    yield from built.changes.refusals if built.changes else ()
    if not built.changes:
        yield f"It cannot be sent from here: {built.unasked}"


def _push(built: Built) -> None:
    try:
        with st.spinner("Sending one commit …"):
            pushed = push(built)
    except (HubError, InputError) as error:
        st.error(literal(error))
        return
    what = "Published" if pushed.committed else "Nothing to do, the Hub has it already"
    st.success(literal(f"{what}: revision {pushed.revision}; {pushed.tag}"))
    st.code(pushed.url, language=None, wrap_lines=True)


def _halves(card: str) -> tuple[str, str]:
    """The front matter, and the text below it."""
    _, front, text = card.split(FENCE, 2)
    return front, text
