"""The cheap checks: what they drop, and the near misses that they must keep."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from curators.rules import CHECKS, Rules, broken_characters, earlier_turns, empty, language, role_tokens, rules
from seedbed.conversation import Response, ToolCall, Turn
from seedbed.engines import Choice, Engines, ModelCard, Reply
from seedbed.records import Content, Sample, Verdict

ASKED = "What is the capital of France, and why was it chosen?"
TOLD = "Paris is the capital of France; kings had lived there since the Middle Ages."
LOOP = "The cat sat on the mat and looked at the dog. "
CHINESE_QUESTION = "请用一句话介绍北京的历史。它为什么重要。你会推荐什么景点。"
CHINESE = "北京是中国的首都。它有三千多年的建城史。它是政治和文化的中心。它也是许多王朝的都城。"
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund und schläft danach den ganzen Tag."
NOVELLA = (
    "It is a novella that Leo Tolstoy wrote in 1886. A judge who has lived as one does falls ill, and asks "
    "himself for the first time whether he has lived well; only his servant does not lie to him."
)
VERSE = "\nThe boat number {n} goes home\nwith {n} fishes and a bell\nand nobody waits at pier {n}\nSing, my love, sing"
SONG = "".join(VERSE.format(n=n) for n in range(6)) + "\nand all is quiet.\n\n(The end)"
CODE = '```python\ndef add(a: int, b: int) -> int:\n    """Sum."""\n    return a + b\n\n\nprint(add(1, 2))\n```'


class NoModel:
    """An engine that must not be asked."""

    @property
    def card(self) -> ModelCard:
        raise AssertionError("rules ask no model")

    async def chat(self, messages, sampling=None, *, step, ordinal=0, schema=None) -> Reply:
        raise AssertionError("rules ask no model")

    async def choose(self, messages, options, *, step) -> Choice:
        raise AssertionError("rules ask no model")


def judge(question: str, answer: str, options: Rules | None = None, context: str = "") -> Verdict:
    content = Content(question=question, answer=answer, context=context)
    sample = Sample(sample_id="0", kind="instruction", method="m", leaf="l", ordinal=0, attempt=0, content=content)
    return asyncio.run(rules(sample, Engines(NoModel(), NoModel()), options or Rules()))


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("", TOLD, "empty question"),
        (" \n\t", TOLD, "empty question"),
        (ASKED, "", "empty answer"),
        (ASKED, "\u200b \ufeff\n", "empty answer"),
        (ASKED, "word " * 401, "answer over 400 words"),
        (ASKED, "京" * 401, "answer over 400 words"),
        ("why " * 201, TOLD, "question over 200 words"),
        (ASKED, "As an AI language model, I cannot answer that.", "refusal"),
        (ASKED, "As an AI, I don't have personal experiences, but here is a guess.", "refusal"),
        (ASKED, "I'm sorry, but I can't help with that.", "refusal"),
        (ASKED, "I\u2019m sorry, but I can\u2019t assist with that request.", "refusal"),
        (ASKED, "Sorry, I am unable to provide legal advice.", "refusal"),
        (ASKED, "  **I apologize, but I cannot fulfill this request.**", "refusal"),
        (ASKED, "Unfortunately, I do not have access to real-time data.", "refusal"),
        (ASKED, "I cannot provide information on how to do that.", "refusal"),
        (ASKED, "No, I'm sorry but I can't help you write it.", "refusal"),
        (ASKED, "As a responsible and ethical assistant, I must inform you that this is wrong.", "refusal"),
        (ASKED, "I must respectfully decline to take part.", "refusal"),
        (ASKED, "I am just an AI and have no hands.", "refusal"),
        (ASKED, f"{TOLD}<|im_end|>", "special tokens"),
        (f"<|endoftext|>{ASKED}", TOLD, "special tokens"),
        (ASKED, f"{TOLD}<|eot_id|>", "special tokens"),
        (ASKED, f"<s>{TOLD}", "special tokens"),
        (ASKED, f"{TOLD}</s>\n", "special tokens"),
        (ASKED, f"[INST] {TOLD} [/INST]", "special tokens"),
        (ASKED, f"{TOLD}<\uff5cend\u2581of\u2581sentence\uff5c>", "special tokens"),
        (f"Human: {ASKED}", TOLD, "role labels"),
        ("Human: please go on with this conversation.", TOLD, "role labels"),
        (ASKED, f"{TOLD}\nHuman: And of Spain?\nAssistant: Madrid.", "role labels"),
        (f"[user]\n{ASKED}", TOLD, "leaked prompt text in the question"),
        (f"Here is a new question: {ASKED}", TOLD, "leaked prompt text in the question"),
        (f"Sure! Here's another question for you:\n{ASKED}", TOLD, "leaked prompt text in the question"),
        (f"{ASKED}\nAnswer: Paris.", TOLD, "answer inside the question"),
        (ASKED, f"{TOLD}\n[assistant]\nMadrid.", "leaked prompt text in the answer"),
        (ASKED, f"{TOLD}\n\n### Instruction:\nName a river.", "leaked prompt text in the answer"),
        (ASKED, f"{TOLD}\n~1a2b3c4d", "leaked prompt text in the answer"),
        (ASKED, f"{TOLD}\n~12345678\n", "leaked prompt text in the answer"),
        (ASKED, f"{TOLD}\n\nQuestion: What is the capital of Spain?\nAnswer: Madrid.", "further turns in the answer"),
        (ASKED, f"{TOLD} Here is another question: what is the capital of Spain?", "further turns in the answer"),
        (ASKED, "what is the capital of France -- and why was it chosen", "answer repeats the question"),
        (ASKED, LOOP * 12, "repeated words"),
        (ASKED, "the " * 60, "repeated words"),
        (ASKED, "a" * 300, "repeated words"),
        (ASKED, "- Paris is nice.\n" * 8, "repeated line"),
        (ASKED, "Paris\x00 is the capital of France.", "broken characters"),
        (ASKED, "Paris \ud83d is the capital of France.", "broken characters"),
        (ASKED, "Caf\ufffd au lait", "broken characters"),
        (ASKED, "\x1b[31mParis", "broken characters"),
        (ASKED, GERMAN, "answer in de"),
        (ASKED, CHINESE, "answer in zh"),
        (GERMAN, TOLD, "question in de"),
    ],
)
def test_a_bad_sample_is_dropped_with_its_reason(question, answer, reason):
    verdict = judge(question, answer)
    assert (verdict.keep, verdict.reason) == (False, reason)
    assert (verdict.step, verdict.curator) == ("rules", "rules")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (ASKED, TOLD),
        ("What is 2 + 2?", "4"),
        ("Which mark ends a question?", "?"),
        ("Answer with one emoji: are you happy?", "\U0001f469\u200d\U0001f4bb"),
        ("What does an AI assistant do?", "An AI assistant answers questions; it cannot always help."),
        ("How should an assistant say no?", "Say it kindly: \"I'm sorry, but I can't help with that.\""),
        ("My dog died.", "I'm sorry to hear that. Losing a friend hurts; be gentle with yourself."),
        ("My cat chewed a plant.", "I\u2019m so sorry for your worry. While I can't see it, call a vet today."),
        ("Decline the invitation.", "I'm sorry, but I can't make it to your party on Friday."),
        ("Write a review.", "I cannot recommend this place enough: the soup was wonderful."),
        ("Quote Elvis.", "I can't help falling in love with you."),
        ("Why did you miss the bus?", "Unfortunately, I overslept and ran for nothing."),
        ("How do I prepare for the job?", "As an AI engineer, you should read papers and I would start with code."),
        ("Who is speaking?", "As an assistant manager, I do not open the shop on Sundays."),
        ("Can I drink the sea?", "No, you cannot drink sea water: the salt dries you out."),
        ("Write a function.", CODE),
        ("Write it plainly.", "def add(a, b):\n    return a + b\n\nprint(add(1, 2))"),
        ("Give the command.", '```bash\nread -r first_10_lines < f && echo "$first_10_lines"\n```'),
        ("Solve it.", "$x^2 + 3x + 2 = (x + 1)(x + 2)$\nso $x = -1$ or $x = -2$"),
        ("Show a matrix.", "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1"),
        ("How do I write strike-through in HTML?", "Write <s>old price</s> around the words, then the new price."),
        ("Give the SQL.", "SELECT a FROM t WHERE a < 3 AND b > 4 OR c[1] = 2;"),
        ("How many people live there?", "It is about ~10000000 people, or ~12345678 to be exact."),
        ("Where is my home?", "It is ~/deadbeef, or /home/~deadbeef on that machine."),
        ("Give me a recipe.", "## Soup\n\n### Ingredients\n- water\n\n### Instructions\n1. Boil the water."),
        ("Write two quiz questions.", "Question 1: What is 2 + 2?\nAnswer: 4\n\nQuestion 2: What is 3?\nAnswer: 3"),
        ("Is the answer right?\nQuestion: What is 2 + 2?\nAnswer: 5", "No: two and two make four."),
        ('Continue the story: "Question: who are you?" he shouted.', 'She laughed. "Question: who asks?"'),
        ("Complete it.\nThe sky is blue because of scattering.\nAnswer:", "Rayleigh scattering."),
        ("Write a dialogue with a robot.", "Human: Hello, can you hear me?\nRobot: Yes, loud and clear."),
        ("Who wrote it?", "The user: field names the assistant: it wrote the page."),
        ("Write a chorus.", "We sing for the sea tonight\n" * 3 + "and the wind sings back to us all."),
        ("Count the rows.", "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | {n * n} |" for n in range(20))),
        ("Write a song.", SONG),
        ("Write a script.", "\n".join(f"if is_{n}(file):\n  move(file, folder_{n})\n  return" for n in range(9))),
        ("Close the braces.", "{\n" * 8 + "}\n" * 8),
        ("Repeat after me: hello there my friend", "hello there my friend"),
        ("Say it in two lines.", "First line\r\n\tsecond line\x0cafter a page"),
        (
            "Shout it.",
            "NO, THE TREE IS NOT CLOSE TO THE SEA SINCE IT IS LOCATED ON A MOUNTAIN THAT IS FAR FROM THE SEA.",
        ),
        ("Translate into German: the quick brown fox jumps over the dog.", GERMAN),
        ("How would you say it in German?", GERMAN),
        ("Name some capitals.", "Paris, London, Berlin, Madrid, Rome, Vienna, Warsaw, Lisbon"),
        ("What is hello?", "In Spanish: hola"),
        ("Explain The Death of Ivan Ilych.", f"A Russian classic! (Russian: Смерть Ивана Ильича)\n\n{NOVELLA}"),
    ],
)
def test_a_near_miss_is_kept(question, answer):
    verdict = judge(question, answer)
    assert (verdict.keep, verdict.reason) == (True, "")


def test_another_language_is_kept_where_it_is_asked_for_and_any_where_none_is_named():
    assert judge(CHINESE_QUESTION, CHINESE, Rules(languages=("zh",))).keep
    assert judge(CHINESE_QUESTION, CHINESE, Rules(languages=("en", "zh"))).keep
    assert judge(GERMAN, CHINESE, Rules(languages=())).keep
    assert judge(ASKED, TOLD, Rules(languages=("zh",))).reason == "question in en"


def test_a_loop_is_found_in_a_script_without_spaces():
    assert judge(CHINESE_QUESTION, CHINESE * 6, Rules(languages=("zh",))).reason == "repeated words"


def test_the_limits_are_inclusive():
    options = Rules(min_words=3, max_words=5, max_question_words=4)
    assert judge("one two three four", "one two three", options).keep
    assert judge("one two three four", "a b c d e", options).keep
    assert judge("Why?", "a b", options).reason == "answer under 3 words"
    assert judge("Why?", "a b c d e f", options).reason == "answer over 5 words"
    assert judge("one two three four five", "a b c", options).reason == "question over 4 words"


def test_the_context_may_be_long_and_foreign_but_not_broken():
    assert judge(ASKED, TOLD, context=GERMAN * 100).keep
    assert judge(ASKED, TOLD, context="a\x00b").reason == "broken characters"


def test_an_answer_that_is_the_whole_prompt_is_an_echo():
    assert judge(ASKED, f"Some text.\n{ASKED}", context="Some text.").reason == "answer repeats the question"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "text", ["", "\x00", "a\ud800" * 40, "\u202e\u2066" * 30, "\U0010ffff" * 30, "e\u0301" * 500, "\n" * 90]
)
def test_no_check_raises_on_strange_text(check, text):
    for content in (Content(question=text, answer=text), Content(question=ASKED, answer=text, context=text)):
        assert check(content, Rules()) is None or isinstance(check(content, Rules()), str)


@pytest.mark.parametrize("options", [{"languages": ["English"]}, {"min_words": 9, "max_words": 3}, {"max_word": 3}])
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        Rules.model_validate(options)


def test_the_language_check_may_be_asked_from_many_threads():
    contents = [Content(question=ASKED, answer=answer) for answer in (TOLD, GERMAN, CHINESE)] * 60
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda content: language(content, Rules()), contents))
    assert found == [None, "answer in de", "answer in zh"] * 60


def test_the_language_check_is_silent_and_opens_no_connection():
    script = (
        "import sys\n"
        "def stop(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'): raise SystemExit(event)\n"
        "sys.addaudithook(stop)\n"
        "from curators.rules import Rules, language\n"
        "from seedbed.records import Content\n"
        f"print(ascii(language(Content(question={ASKED!r}, answer={GERMAN!r}), Rules())))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "'answer in de'\n", "")


def test_a_call_of_a_tool_is_an_answer_and_earlier_turns_are_read_too():
    called = Content.of(
        [Turn("user", "When does the next bus leave?")], [Response("", tool_calls=(ToolCall("bus", {}),))]
    )
    assert empty(called, Rules()) is None
    before = [Turn("user", "Why?"), Turn("assistant", "<|im_start|>Because."), Turn("user", "And then?")]
    spoilt = Content.of(before, [Response("Then it ends.")])
    assert role_tokens(spoilt, Rules()) == "special tokens"
    broken = Content.of([Turn("system", "Be\x07 kind."), Turn("user", "Why?")], [Response("It is so.")])
    assert broken_characters(broken, Rules()) == "broken characters"
    refusing = [Turn("user", "Why?"), Turn("assistant", "I can't assist with that."), Turn("user", "And then?")]
    assert earlier_turns(Content.of(refusing, [Response("Then it ends.")]), Rules()) == "refusal in an earlier turn"
