"""What a recipe may say, in YAML and in Python, and what it gets told when it says something else."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field, ValidationError

from seedbed.prompts import PromptText
from seedbed.recipe import Budget, HttpModel, Recipe, Step, TransformersModel, read_recipe, recipe_schema
from seedbed.records import Frozen
from seedbed.yamlfile import BadInput

ROOT = Path(__file__).parent.parent
SECRET = "sk-" + "a1B2" * 6


class Grow(Frozen):
    """Options of a generator: all have defaults."""

    per_leaf: int = Field(default=8, ge=1)
    prompt: PromptText = "[user]\nGrow."


class Weed(BaseModel):
    """Options of a curator; it does not forbid unknown keys itself, and one has no default."""

    keep_at: float


GENERATORS: dict[str, type[BaseModel]] = {"grow": Grow, "graft": Grow}
CURATORS: dict[str, type[BaseModel]] = {"weed": Weed, "thin": Grow}
HEAD = "name: test\nmodel: smollm2-135m\n"
GOOD = f"{HEAD}generate: [grow]\n"
HTTP = "engine: http, base_url: 'http://127.0.0.1:8000/v1', model: m"


def read(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path, GENERATORS, CURATORS)


def faults(folder, text):
    with pytest.raises(BadInput) as caught:
        read(folder, text)
    return caught.value.problems


def test_yaml_and_python_mean_the_same(tmp_path):
    (tmp_path / "tree").mkdir()
    text = """
name: support-desk
model: smollm2-135m
judge: {engine: http, base_url: http://127.0.0.1:8000/v1/, model: big, api_key_env: MY_KEY}
taxonomy: tree
generate:
  - grow: {per_leaf: 3}
  - grow
curate:
  - weed: {keep_at: 3}
  - thin:
  - weed:
      keep_at: 4
budget: {tokens: 200_000, minutes: 1.5}
"""
    assert read(tmp_path, text) == Recipe(
        name="support-desk",
        model=TransformersModel(model="smollm2-135m"),
        judge=HttpModel(base_url="http://127.0.0.1:8000/v1", model="big", api_key_env="MY_KEY"),
        taxonomy=tmp_path / "tree",
        generate=(Step(name="grow", options=Grow(per_leaf=3)), Step(name="grow", options=Grow())),
        curate=(
            Step(name="weed", options=Weed(keep_at=3)),
            Step(name="thin", options=Grow()),
            Step(name="weed", options=Weed(keep_at=4)),
        ),
        budget=Budget(tokens=200_000, minutes=1.5),
    )


def test_what_is_left_out_has_a_plain_default(tmp_path):
    recipe = read(tmp_path, GOOD + "judge:\ncurate:\nbudget:\n")
    assert (recipe.judge, recipe.taxonomy, recipe.curate, recipe.budget) == (None, None, (), Budget())


def test_a_recipe_written_as_json_keeps_the_options_of_its_steps(tmp_path):
    assert read(tmp_path, GOOD).model_dump(mode="json")["generate"] == [
        {"name": "grow", "options": {"per_leaf": 8, "prompt": "[user]\nGrow."}}
    ]


def test_a_recipe_in_python_takes_no_options_that_no_method_has_checked():
    with pytest.raises(ValidationError, match="instance of BaseModel"):
        Recipe.model_validate(
            {"name": "a", "model": "smollm2-135m", "generate": [{"name": "grow", "options": {"per_leaf": 3}}]}
        )


def test_no_call_may_take_for_ever():
    with pytest.raises(ValidationError, match="finite number"):
        HttpModel(base_url="http://127.0.0.1/", model="m", timeout=float("inf"))


def test_a_recipe_does_not_change_after_it_is_made(tmp_path):
    recipe = read(tmp_path, GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"


def test_a_prompt_file_is_found_from_the_recipe_s_folder(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("[user]\nMine.")
    monkeypatch.chdir("/")
    recipe = read(tmp_path, f"{HEAD}generate: [grow: {{prompt: mine.txt}}]\n")
    assert recipe.generate[0].options == Grow(prompt="[user]\nMine.")


def test_the_taxonomy_is_looked_for_beside_the_recipe_then_where_we_stand(tmp_path, monkeypatch):
    recipes = tmp_path / "recipes"
    (tmp_path / "both").mkdir()
    (tmp_path / "here").mkdir()
    (recipes / "both").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert read(recipes, GOOD + "taxonomy: both\n").taxonomy == recipes / "both"
    assert read(recipes, GOOD + "taxonomy: ../here\n").taxonomy == tmp_path / "here"
    assert read(recipes, GOOD + "taxonomy: here\n").taxonomy == tmp_path / "here"


@pytest.mark.parametrize(
    ("text", "line", "what", "advice"),
    [
        ("- grow\n", 1, "the recipe is a list", "name:"),
        ("model: smollm2-135m\ngenerate: [grow]\ncurate: []\n", 1, "name is missing", "Add `name: …`"),
        (GOOD.replace("test", "Support Desk"), 1, "name should match", "support-desk"),
        (GOOD.replace("test", "a" * 65), 1, "name should match", "at most 64"),
        (GOOD.replace("test", "5"), 1, "name should be a valid string", "support-desk"),
        (GOOD + "generat: [grow]\n", 4, "unknown key 'generat'", "Did you mean 'generate'?"),
        (HEAD, 1, "generate is missing", "Known: graft, grow"),
        (HEAD + "generate: []\n", 3, "generate is empty", "Known: graft, grow"),
        (HEAD + "generate: grow\n", 3, "generate is a text, not a list", "- METHOD"),
        (HEAD + "generate:\n  - grow\n  - gro\n", 5, "unknown method 'gro' in generate", "Did you mean 'grow'?"),
        (HEAD + "generate:\n  - weed: {keep_at: 1}\n", 4, "unknown method 'weed' in generate", "Move it to curate:"),
        (HEAD + "generate:\n  - grow:\n    per_leaf: 8\n", 4, "this step has 2 keys", "indent its options"),
        (HEAD + "generate:\n  - grow: 8\n", 4, "the options of grow are a number (8)", "grow: {option: value}"),
        (HEAD + "generate:\n  - [grow]\n", 4, "this step is a list", "- METHOD"),
        (HEAD + "generate:\n  - grow:\n      per_leaf: many\n", 5, "per_leaf should be a valid integer", "per_leaf: 8"),
        (HEAD + "generate:\n  - grow:\n      per_leaf: 0\n", 5, "per_leaf should be greater", "per_leaf: 8"),
        (HEAD + "generate:\n  - grow:\n      perleaf: 8\n", 5, "unknown key 'perleaf'", "Did you mean 'per_leaf'?"),
        (HEAD + "generate:\n  - grow:\n      prompt: no.txt\n", 5, "cannot read the prompt file", "Correct"),
        (GOOD + "curate:\n  - weed\n", 5, "keep_at is missing", "Add `keep_at: …`"),
        (GOOD + "curate:\n  - weed: {keep_at: 1, kept: 2}\n", 5, "unknown key 'kept'", "keep_at"),
        (GOOD + "curate: {weed: }\n", 4, "curate is a mapping", "- METHOD"),
        (GOOD + "taxonomy: nowhere\n", 4, "there is no folder 'nowhere' (looked for ", "Correct the path"),
        (GOOD + "budget:\n  tokens: 0\n", 5, "tokens should be greater than 0", "Correct"),
        (GOOD + "budget: {token_s: 5}\n", 4, "unknown key 'token_s'", "Did you mean 'tokens'?"),
    ],
)
def test_a_fault_says_where_what_and_what_to_write(tmp_path, text, line, what, advice):
    problem, *more = faults(tmp_path, text)
    assert (problem.file, problem.line, more) == (str(tmp_path / "recipe.yaml"), line, [])
    assert what in problem.what
    assert advice in problem.write


@pytest.mark.parametrize(
    ("model", "what", "advice"),
    [
        ("smollm2-135", "unknown model 'smollm2-135'", "Did you mean 'smollm2-135m'?"),
        ("5", "a number (5), not a model", "smollm2-135m"),
        ("{model: x}", "engine is missing", "engine: http"),
        ("{engine: htttp, model: x}", "unknown engine 'htttp'", "Did you mean 'http'?"),
        ("{engine: [http]}", "unknown engine", "Known: http, transformers"),
        ("{engine: vllm}", "model is missing", "Add `model: …`"),
        ("{engine: vllm, model: x, adapter: nowhere}", "no adapter in 'nowhere'", "`seedbed train` made"),
        ("{engine: vllm, model: x, args: {max_seqs: 1}}", "unknown key 'max_seqs'", "Did you mean 'max_num_seqs'?"),
        ("{engine: vllm, model: x, args: {trust_remote_code: true}}", "unknown key", "Known: "),
        ("{engine: vllm, model: x, args: {host: 0.0.0.0}}", "unknown key 'host'", "Known: "),
        ("{engine: http, model: x}", "base_url is missing", "Add `base_url: …`"),
        ("{engine: http, model: x, base_url: localhost}", "no web address", "http://127.0.0.1:8000/v1"),
        ("{engine: http, model: x, base_url: 'http://h:port/'}", "no web address", "http://127.0.0.1:8000/v1"),
        ("{engine: transformers, model: x, revision: 5}", "revision should be a valid string", "quotes"),
        ("{engine: transformers, modle: x}", "unknown key 'modle'", "Did you mean 'model'?"),
        (f"{{{HTTP}, timeout: .inf}}", "timeout should be a valid number", "timeout: 120.0"),
        (f"{{{HTTP}, concurrency: 0}}", "concurrency should be greater", "concurrency: 64"),
    ],
)
@pytest.mark.parametrize("key", ["model", "judge"])
def test_a_model_that_no_engine_runs_is_told_with_the_remedy(tmp_path, key, model, what, advice):
    other = {"model": "judge", "judge": "model"}[key]
    text = f"name: test\n{other}: smollm2-135m\ngenerate: [grow]\n{key}: {model}\n"
    (problem,) = faults(tmp_path, text)
    assert problem.line == 4
    assert what in problem.what
    assert advice in problem.write


@pytest.mark.parametrize(
    "line",
    [
        f"judge: {{{HTTP}, api_key: {SECRET}}}",
        f"judge: {{{HTTP}, api_key: short}}",
        f"judge: {{{HTTP}, token: {SECRET}}}",
        f"judge: {{{HTTP}, api_key_env: {SECRET}}}",
        f"judge: {{{HTTP}, licence: hf_{'a1' * 10}}}",
        f"judge: {SECRET}",
        f"curate: [{SECRET}]",
        f"curate: [thin: {{prompt: {SECRET}}}]",
        f"password: {SECRET}",
        f"judge: {{engine: http, model: m, base_url: 'http://me:{SECRET[3:]}@127.0.0.1/'}}",
    ],
)
def test_a_secret_is_refused_and_never_repeated(tmp_path, line):
    (problem,) = faults(tmp_path, GOOD + line + "\n")
    assert problem.line == 4
    assert "environment variable" in problem.write
    assert SECRET[3:] not in str(problem)
    assert "short" not in str(problem)


def test_the_name_of_an_environment_variable_is_no_secret(tmp_path):
    assert (
        read(tmp_path, GOOD + f"judge: {{{HTTP}, api_key_env: OPENAI_API_KEY}}\n").judge.api_key_env == "OPENAI_API_KEY"
    )


def test_a_secret_given_in_python_is_not_repeated_either():
    with pytest.raises(ValidationError) as caught:
        HttpModel.model_validate({"base_url": "http://127.0.0.1/", "model": "m", "api_key": SECRET})
    assert SECRET not in str(caught.value)


def test_all_faults_come_at_once_in_the_order_of_their_lines(tmp_path):
    text = "name: A\nmodel: gpt\ngenerate:\n  - gro\n  - grow: {x: 1, per_leaf: 0}\ncurate: 5\nbudget: {tokens: x}\n"
    assert [problem.line for problem in faults(tmp_path, text)] == [1, 2, 4, 5, 5, 6, 7]


def test_the_schema_knows_every_method_and_its_options():
    schema = recipe_schema(GENERATORS, CURATORS)
    forms = schema["properties"]["generate"]["items"]["oneOf"]
    assert [form["const"] for form in forms if "const" in form] == ["grow", "graft"]
    assert [form["required"] for form in forms if "required" in form] == [["grow"], ["graft"]]
    assert schema["$defs"]["Grow"]["properties"]["per_leaf"] == {
        "default": 8,
        "minimum": 1,
        "title": "Per Leaf",
        "type": "integer",
    }


def test_the_schema_offers_no_bare_name_for_a_method_that_needs_options():
    forms = recipe_schema(GENERATORS, CURATORS)["properties"]["curate"]["items"]["oneOf"]
    assert {"const": "thin"} in forms
    assert {"const": "weed"} not in forms


def test_the_schema_takes_a_model_as_its_short_name_or_by_its_engine():
    schema = recipe_schema(GENERATORS, CURATORS)
    assert {"const": "smollm2-135m"} in schema["properties"]["model"]["anyOf"]
    assert "engine" in schema["$defs"]["HttpModel"]["required"]
    assert set(schema["required"]) == {"name", "model", "generate"}
    assert schema["additionalProperties"] is False


def test_every_reference_of_the_schema_leads_somewhere():
    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        for item in value if isinstance(value, list) else []:
            yield from references(item)

    schema = recipe_schema(GENERATORS, CURATORS)
    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} == schema["$defs"].keys()
