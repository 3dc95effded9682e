"""The Publish page's way to the Hub, in a real browser: what is shown is what is sent, and only at a second press."""

from __future__ import annotations

import pytest

from benchmarks.review import command
from tests.browsing import settled, visit
from tests.fake_hub import FakeHub, Fault
from tests.grown import pairs, rows, stored
from tests.ports import free_port
from tests.test_push import REPO, TOKEN, environment
from tests.test_ui import opened, ran, shown
from tests.test_ui_browser import browser

__all__ = ["browser"]  # a fixture
PUSH = "Publish exactly this"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish") / "home"
    stored(folder, [*rows(20), *pairs(20, 10)]).close()
    (folder / "terms.yaml").write_text("model_licences: {other-3b: mit}\n")
    return folder


@pytest.fixture
def hub():
    with FakeHub(TOKEN).running() as running:
        yield running


@pytest.fixture
def page(browser, home, hub, tmp_path, monkeypatch):
    """The Publish page of `seedbed review`, for which the fake is the Hub."""
    for name, value in environment(hub, tmp_path).items():
        monkeypatch.setenv(name, value)
    port = free_port()
    with command(home, "review", "--port", str(port), "--reviewer", "anna") as process:
        assert process.stdout is not None and process.stdout.readline().startswith("Review at")
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        yield visit(context, f"http://127.0.0.1:{port}/publish")
        context.close()


def build(page, home, told: str, **fields: str) -> str:
    """Fill the form in, build, and say what the page says once it tells of what was `told` to be looked for."""
    given = {"Data set": REPO, "Licence of the data": "cc-by-4.0", "Options file": str(home / "terms.yaml")}
    for name, value in {**given, **fields}.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_role("button", name="Build and look").click()
    page.get_by_text(told).filter(visible=True).first.wait_for(timeout=60_000)
    settled(page)
    text: str = page.locator("[data-testid=stMain]").inner_text()
    return text


def writes(hub: FakeHub) -> list[str]:
    return [asked.path for asked in hub.requests if asked.writes]


def test_what_was_looked_at_is_sent_at_the_second_press_and_never_the_token(page, home, hub):
    said = build(page, home, "it would be made, private")
    assert "data/preference/train-00000-of-00001.parquet" in said
    assert not writes(hub) and not hub.repos
    page.get_by_text("The card", exact=True).click()
    settled(page)
    assert "license: cc-by-4.0" in page.inner_text("[data-testid=stExpander]")
    hub.faults["commit"] = [Fault(answer=403)]
    page.get_by_role("button", name=PUSH).click()
    page.get_by_text("write access to this repository").wait_for(timeout=60_000)
    page.get_by_role("button", name=PUSH).click()
    page.get_by_text("Published: revision").wait_for(timeout=60_000)
    assert hub.repos[REPO].private and set(hub.repos[REPO].files) >= {"README.md", "manifest.json"}
    built = (home / "trees" / "desk-v1" / "README.md").read_bytes()
    assert hub.repos[REPO].files["README.md"] == built
    assert TOKEN not in page.content()
    assert "nothing to do" in build(page, home, "nothing to do")


def test_what_is_to_be_mended_is_told_and_nothing_can_be_sent(page, home, hub):
    said = build(page, home, "other-3b", **{"Licence of the data": "", "Options file": ""})
    assert "license" in said
    assert page.get_by_role("button", name=PUSH).count() == 0
    build(page, home, "is no name of a repository", **{"Data set": "nobody"})
    build(page, home, "no such file", **{"Options file": str(home / "gone.yaml")})
    build(page, home, "no data set named", **{"Data set": ""})
    assert page.get_by_role("button", name=PUSH).count() == 0
    assert not writes(hub)


def test_who_signs_in_from_elsewhere_cannot_use_this_machines_token(home, monkeypatch):
    monkeypatch.setenv("SEEDBED_HOME", str(home))
    app = opened("publish")
    assert "Build and look" in [button.label for button in app.button]
    app.user = {"is_logged_in": True, "email": "anna@example.org"}
    said = shown(ran(app))
    assert "seedbed push desk-v1 OWNER/NAME" in said
    assert "Build and look" not in [button.label for button in app.button]
