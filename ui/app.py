"""The entry: five pages over one store. Start it with `seedbed review`, which sets what keeps it on this machine."""

from __future__ import annotations

import streamlit as st

from ui import coverage, desk, explore, publish, review, runs
from ui.safe import STYLE


def main() -> None:
    """Draw the frame, then the page that was asked for."""
    st.set_page_config(page_title="Seedbed review", layout="wide", menu_items={"About": "Seedbed, Apache-2.0."})
    st.html(STYLE)
    page = st.navigation(
        [
            st.Page(review.page, title="Review", url_path="review", default=True),
            st.Page(explore.page, title="Explore", url_path="explore"),
            st.Page(coverage.page, title="Coverage", url_path="coverage"),
            st.Page(runs.page, title="Runs", url_path="runs"),
            st.Page(publish.page, title="Publish", url_path="publish"),
        ]
    )
    with st.sidebar:
        desk.sign_in()
        st.caption("Store")
        st.text(str(desk.home()))
    desk.guarded(page.run)


if __name__ == "__main__":
    main()
