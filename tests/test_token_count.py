"""The estimate of tokens against a real tokenizer: the embedded model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from generators.knowledge import Knowledge
from seedbed.engines.smollm2 import embedded_model
from seedbed.token_count import count, reach

ROOT = Path(__file__).parent.parent
ENGLISH = (ROOT / "taxonomies/starter/knowledge/gardening/seedlings/seedlings.md").read_text()
TEXTS = {
    "English": ENGLISH,
    "English with links and code": (ROOT / "CONTRIBUTING.md").read_text(),
    "Python": (ROOT / "seedbed/taxonomy.py").read_text(),
    "a table": "\n".join(f"| valve {n} | {n * 10} bar | brass | check weekly |" for n in range(60)),
    "Chinese": "番茄种子在二十到二十五度之间发芽最好。播种深度为一厘米。第一片真叶展开时移栽幼苗。",
    "Japanese": "トマトの種は二十度から二十五度の間で最もよく発芽します。深さ一センチに蒔いてください。",
    "Thai": "เมล็ดมะเขือเทศงอกได้ดีที่สุดที่อุณหภูมิยี่สิบถึงยี่สิบห้าองศา",
    "Arabic": "تنبت بذور الطماطم بشكل أفضل في درجات حرارة بين عشرين وخمس وعشرين درجة مئوية.",
    "Hindi": "टमाटर के बीज बीस से पच्चीस डिग्री के बीच सबसे अच्छे अंकुरित होते हैं।",
    "Russian": "Семена томатов лучше всего прорастают при температуре от двадцати до двадцати пяти градусов.",
    "emoji": "🌱🍅😀👨‍👩‍👧🇩🇪" * 5,
}
FINEST = {
    "German": "Tomatensamen keimen am besten bei zwanzig bis fünfundzwanzig Grad. Säen Sie einen Zentimeter tief.",
    "Korean": "토마토 씨앗은 섭씨 이십 도에서 이십오 도 사이에서 가장 잘 발아합니다.",
    "Burmese": "ခရမ်းချဉ်သီးစေ့များသည် နှစ်ဆယ်မှ နှစ်ဆယ့်ငါးဒီဂရီကြားတွင် အကောင်းဆုံးအပင်ပေါက်သည်",
}


@pytest.fixture(scope="module")
def true_count():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(embedded_model() / "tokenizer.json"))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_has_about_as_many_tokens_as_estimated(name, true_count):
    assert 0.8 < count(TEXTS[name]) / true_count(TEXTS[name]) < 1.5


@pytest.mark.parametrize("name", FINEST)
def test_what_a_tokenizer_of_english_cuts_finest_has_no_more_than_half_as_many_again(name, true_count):
    assert count(FINEST[name]) / true_count(FINEST[name]) > 0.64


def test_a_chunk_has_as_many_words_of_english_as_it_had_when_words_were_counted():
    words = Knowledge().chunk_tokens * len(ENGLISH.split()) / count(ENGLISH)
    assert words == pytest.approx(180, rel=0.05)


@pytest.mark.parametrize(
    "text", ["x" * 999, "番茄" * 500, "a b " * 300, " " * 5_000, "\x00" * 99, "🌱" * 99, "\n" * 999]
)
def test_a_stretch_of_any_text_is_bounded_and_its_rest_too(text):
    start, total = 0, 0
    while start < len(text):
        end = reach(text, start, len(text), 20)
        assert start < end and count(text[start:end]) <= 20
        start, total = end, total + 1
    assert total >= count(text) / 20
