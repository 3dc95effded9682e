"""Who reviews, and which store lies on the desk; and what a page says where there is nothing to show."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from seedbed.errors import InputError
from seedbed.store import Store, StoreError
from seedbed.store.store import FILE
from ui.safe import literal

HOME = Path(".seedbed")
REVIEWER = "reviewer"  # in the session; "name" is the field's own
BEGIN = "seedbed run recipes/starter.yaml"


def home() -> Path:
    """The folder of the store: what `seedbed review` was given, or where the commands look too."""
    return Path(os.environ.get("SEEDBED_HOME", HOME))


def there() -> str:
    """What a command needs to find the same store."""
    return "" if home() == HOME else f" --home {shlex.quote(str(home()))}"


def store() -> Store | None:
    """The store, one for all sessions; None where none is there yet."""
    if not (home() / FILE).exists():
        return None
    return _opened(str(home().absolute()))


@st.cache_resource(show_spinner=False)
def _opened(folder: str) -> Store:
    return Store(Path(folder))


def reviewer() -> str:
    """The name under which reviews are stored; "" where nobody said."""
    return str(st.session_state.get(REVIEWER, ""))


def sign_in() -> None:
    """Ask who reviews: the identity provider where one is configured, else a name that nobody checks."""
    if "is_logged_in" in st.user:
        _signed_in()
        return
    if "name" not in st.session_state:
        st.session_state["name"] = os.environ.get("SEEDBED_REVIEWER", "")
    name = st.text_input("Reviewer", key="name", persist_state="session", max_chars=80)
    st.session_state[REVIEWER] = (name or "").strip()
    st.caption("A local name, not authenticated: it is stored with every review.")


def _signed_in() -> None:
    if not st.user.is_logged_in:
        st.session_state[REVIEWER] = ""
        st.button("Sign in", on_click=st.login, key="sign-in")
        return
    name = str(st.user.get("email") or st.user.get("name") or st.user.get("sub"))
    st.session_state[REVIEWER] = name
    st.text(f"Signed in as {name}")
    st.button("Sign out", on_click=st.logout, key="sign-out")


def empty(what: str, *commands: str) -> None:
    """Say that there is nothing, and what to do about it."""
    st.info(literal(what))
    for command in commands:
        st.code(command, language=None, wrap_lines=True)


def no_store() -> None:
    """Say which command makes a store."""
    empty(f"There is no store in {home()} yet. A run makes one:", BEGIN + there())


def no_run() -> None:
    """Say which command makes a run."""
    empty("The store has no run yet. Begin with:", BEGIN + there())


def guarded(draw: Callable[[], None]) -> None:
    """Draw; what the store or a value is at fault for is said in the store's own words."""
    try:
        draw()
    except (StoreError, InputError) as error:
        st.error(literal(error))
