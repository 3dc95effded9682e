"""Numbers as people read them: with the digits that they mean, and never a zero for what is more than nothing."""

from __future__ import annotations

import math

DIGITS = 6  # of a measured number; the whole digits of a larger one besides


def number(value: float) -> str:
    """A number as exact as it is short: 0.1, 0.948276, 1234568; all its digits are for programs."""
    exact = repr(value)
    if not math.isfinite(value) or len(exact.lstrip("-0.")) <= DIGITS + 1:
        return exact
    if "e" in exact or abs(value) < 1:
        return f"{value:.{DIGITS}g}"
    told = f"{value:.{max(0, DIGITS - len(str(abs(int(value)))))}f}"
    return told.rstrip("0").rstrip(".") if "." in told else told


def beside(value: float, cut: float | None) -> str:
    """A score in three digits, and in as many more as show on which side of its threshold it lies."""
    for digits in range(3, 17):
        told = f"{value:.{digits}g}"
        if cut is None or (float(told) < cut) == (value < cut):
            return told
    return repr(value)


def dollars(amount: float) -> str:
    """US dollars: cents where there are ten or more, two digits of what is less."""
    if amount == 0 or amount >= 0.0995:
        return f"${amount:,.2f}"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}".rstrip("0")


def share(part: float) -> str:
    """A share in per cent: never 0 % of what there is some of, nor 100 % of what is not all."""
    if part in (0, 1):
        return f"{part:.0%}"
    for digits in range(5):
        told = f"{part:.{digits}%}"
        if float(told[:-1]) not in (0, 100):
            return told
    return "under 0.0001%" if part < 0.5 else "over 99.9999%"


def seconds(length: float) -> str:
    """Seconds: tenths, and one digit of what is less."""
    return f"{length:,.1f}" if length >= 0.05 or not length else f"{length:.1g}"


def duration(length: float) -> str:
    """A length of time in seconds, as people say it."""
    if length < 90:
        return f"{length:.0f} s" if length >= 0.95 or not length else f"{length:.1g} s"
    return f"{length / 60:.0f} min" if length < 5400 else f"{length / 3600:.1f} h"
