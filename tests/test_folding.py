"""Texts folded for duplicates: many at once give the very bytes that each gives by itself."""

import random

from seedbed.folding import all_folded, folded

SIGNS = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u3000"
SIGNS += "aA\u00df\u0130\u03a3\u00e9\u0301\ud800\x00\x01\x02b"


def test_many_texts_fold_as_each_by_itself_whatever_signs_stand_in_them():
    dice = random.Random(0)
    texts = [
        tuple("".join(dice.choice(SIGNS) for _ in range(dice.randrange(12))) for _ in range(dice.randrange(1, 5)))
        for _ in range(20_000)
    ]
    plain = [tuple(part.replace("\x00", "").replace("\x01", "") for part in parts) for parts in texts]
    for some in (texts, plain, plain[:1], [("",)], [(" ",)], [(" ", " a")], []):
        assert list(all_folded(some)) == [b"\x01".join(map(folded, parts)) for parts in some]


def test_case_white_space_and_unicode_form_do_not_count_and_words_do():
    alike = ["One  Two\n\nthree", " one two three ", "\uff2fne\u3000two\u2028THREE"]
    assert set(map(folded, alike)) == {b"one two three"}
    assert folded("now here") != folded("nowhere")
