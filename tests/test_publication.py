"""What may be published: no secret, no licence that nobody has named; and how that is asked for."""

from __future__ import annotations

import pytest

from flows.publication import Publication
from flows.publish import Built, build, push, read_publication
from seedbed.errors import InputError
from seedbed.yamlfile import BadInput
from tests.grown import PASSED, pairs, rows, sample, scored, stored
from tests.test_run import ROOT

TERMS = Publication(license="cc-by-4.0", model_licences={"other-3b": "mit"})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("store") / "home", [*rows(20), *pairs(20, 10)])


def problems(built: Built) -> str:
    with pytest.raises(InputError, match="not pushed"):
        push(built)
    return "\n".join(built.problems)


SECRETS = [
    "hf_" + "abcdEFGHijklMNOPqrstUVWXyzabcdEFGH",
    "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv",
    "ghp_" + "0123456789abcdefghijABCDEFGHIJ456789",
    "AKIA" + "IOSFODNN7QWERTYU",
    "Authorization: Bearer " + "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef",
]
HARMLESS = "Call hf_hub_download, put sk-XXXXXXXXXXXXXXXXXXXXXXXX there, and send Bearer YOUR_ACCESS_TOKEN_HERE."


def test_a_secret_in_a_sample_is_refused_with_its_id_and_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv("DESK_KEY", "plain-but-secret")  # the recipe's api_key_env
    texts = [*SECRETS, "my key is plain-but-secret"]
    made = [
        *rows(3),
        *((sample(10 + n, answer=f"Use {text} for it."), (PASSED, scored(4))) for n, text in enumerate(texts)),
    ]
    made += [(sample(30, question=HARMLESS), (PASSED, scored(4)))]
    built = build(stored(tmp_path / "home", made), "desk", tmp_path / "tree", TERMS)
    said = problems(built)
    told = [problem for problem in built.problems if "secret" in problem]
    assert sum(int(problem.split(": ")[1].split()[0]) for problem in told) == len(texts), told
    assert f"{10:020d}" in said and f"{30:020d}" not in said and not any(text in said for text in texts)


def test_a_secret_in_the_recipe_is_found_in_the_manifest(tmp_path):
    recipe = {
        "name": "desk",
        "model": {},
        "generate": [{"name": "skills", "options": {"note": SECRETS[0]}}],
        "curate": [],
    }
    built = build(stored(tmp_path / "home", rows(3), recipe=recipe), "desk", tmp_path / "tree", TERMS)
    assert "manifest.json holds what looks like a secret" in problems(built)


def test_an_unknown_licence_is_refused_unless_told(store, tmp_path):
    told = problems(build(store, "desk", tmp_path / "a", Publication(license="mit")))
    assert told == (
        "the licence of other-3b is unknown: write `model_licences: {other-3b: …}` in the options, "
        "or `allow_unknown_licence: true`; the card then says that it is not known"
    )
    allowed = build(store, "desk", tmp_path / "b", Publication(license="mit", allow_unknown_licence=True))
    assert allowed.problems == () and "The licence of other-3b is not recorded" in allowed.card
    assert "no license is given" in problems(
        build(store, "desk", tmp_path / "c", TERMS.model_copy(update={"license": ""}))
    )


def test_the_options_that_are_shipped_can_be_read():
    shipped = read_publication(ROOT / "recipes" / "publish.yaml", {"repo": "me/desk"})
    assert shipped == Publication(repo="me/desk", license="cc-by-4.0", pretty_name="Seedbed starter")
    assert not shipped.public


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("licence: mit", "unknown key 'licence'. Did you mean 'license'"),
        ("license: MIT License", "'MIT License' is no licence's short name. Write one such as apache-2.0"),
        ("repo: desk", "'desk' is no name of a repository. Write OWNER/NAME"),
        ("held_out: 2", "held_out should be less than or equal to 0.5"),
        (f"token: {SECRETS[0]}", "token holds a secret"),
        ("- license", "the file is a list. Write `key: value` lines"),
    ],
)
def test_a_fault_in_the_options_says_where_what_and_what_to_write(tmp_path, text, said):
    path = tmp_path / "publish.yaml"
    path.write_text(f"# options\n{text}\n")
    with pytest.raises(BadInput) as told:
        read_publication(path, {})
    assert str(told.value).startswith(f"{path}:2: ") and said in str(told.value) and SECRETS[0] not in str(told.value)
    with pytest.raises(InputError, match="is no name of a repository"):
        read_publication(None, {"repo": "desk"})
