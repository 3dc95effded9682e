"""Numbers for people: short where nothing is lost, and never a zero for what is more than nothing."""

import math

import pytest

from flows.figures import beside, dollars, duration, number, seconds, share


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.1, "0.1"),
        (0.30000000000000004, "0.3"),
        (0.9482759237289, "0.948276"),
        (-2 / 3, "-0.666667"),
        (5.0, "5.0"),
        (1234567.891, "1234568"),
        (999999.96, "1000000"),
        (100 / 3, "33.3333"),
        (1.23456789e-5, "1.23457e-05"),
        (1e16, "1e+16"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_measured_number_has_six_digits_and_an_exact_one_its_own(value, told):
    assert number(value) == told


@pytest.mark.parametrize(
    ("value", "cut", "told"),
    [(4.8123, None, "4.81"), (3.4996, 3.5, "3.4996"), (0.99999, 1.0, "0.99999"), (3.5, 3.5, "3.5")],
)
def test_a_score_never_looks_as_if_it_lay_on_the_other_side_of_its_threshold(value, cut, told):
    assert beside(value, cut) == told


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (0, "$0.00"),
        (0.0004, "$0.0004"),
        (0.00041, "$0.00041"),
        (0.012, "$0.012"),
        (0.5, "$0.50"),
        (1234.567, "$1,234.57"),
    ],
)
def test_small_amounts_are_not_no_dollars(amount, told):
    assert dollars(amount) == told


@pytest.mark.parametrize(
    ("part", "told"),
    [(0, "0%"), (1, "100%"), (0.5, "50%"), (0.004, "0.4%"), (0.9996, "99.96%"), (1e-9, "under 0.0001%")],
)
def test_a_share_of_some_is_not_none_and_of_nearly_all_not_all(part, told):
    assert share(part) == told


def test_a_moment_is_not_no_time():
    assert [seconds(length) for length in (0, 0.004, 0.06, 12.34, 5000)] == ["0.0", "0.004", "0.1", "12.3", "5,000.0"]
    assert [duration(length) for length in (0, 0.3, 12.3, 600, 7200)] == ["0 s", "0.3 s", "12 s", "10 min", "2.0 h"]
