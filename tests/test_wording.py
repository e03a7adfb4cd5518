"""Numbers as people read them."""

import pytest

from datadam.errors import InvalidInput
from datadam.wording import THIN, count, duration, percent, plural, shorten, size


def spaced(text: str) -> str:
    return text.replace(THIN, " ")


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (47_040_000, "47.0 MB")],
)
def test_size_changes_its_unit_at_thousands(number: int, words: str) -> None:
    assert spaced(size(number)) == words


def test_size_ends_with_terabytes() -> None:
    assert spaced(size(5e16)) == "50000 TB"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min"), (123.4, "2 min 3 s"), (3599.9, "1 h"), (90_000, "1 d 1 h")],
)
def test_duration_carries_over_and_never_says_60(seconds: float, words: str) -> None:
    assert spaced(duration(seconds)) == words


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        duration(-1)


def test_counts_shares_and_plurals() -> None:
    assert spaced(count(60_000)) == "60 000"
    assert spaced(percent(0.97123)) == "97.1 %"
    assert spaced(percent(0.97123, 0)) == "97 %"
    assert (plural(1, "class", "classes"), plural(2, "class", "classes")) == ("1 class", "2 classes")


def test_shorten_keeps_one_line_within_its_length() -> None:
    assert shorten("a\n b\tc", 10) == "a b c"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"
