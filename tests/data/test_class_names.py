"""A class is its name: which name of one list is which of another, and what is refused."""

import pytest

from datadam.data.class_names import match, match_numbers
from datadam.data.name_forms import as_number
from datadam.data.official import IMAGEWOOF
from datadam.errors import DataError


def test_names_in_another_order_without_a_word() -> None:
    found = match(["dog", "fox", "cat"], ["cat", "dog", "fox"])
    assert found == ((1, 2, 0), (), ())


def test_a_class_that_one_side_lacks_is_told_and_one_that_the_other_lacks_is_refused() -> None:
    found = match(["cat", "dog"], ["ant", "cat", "dog"])
    assert (found.places, found.absent) == ((1, 2), (0,))
    with pytest.raises(DataError, match=r"the test part has classes that the training part lacks: ant; .* has cat, dog"):
        match(["ant", "cat", "dog"], ["cat", "dog"])


def test_names_that_nobody_uses_are_not_asked_about() -> None:
    found = match(["ant", "dog", "cat"], ["cat", "dog", "fox"], used=[2, 1])
    assert found == ((-1, 1, 0), (2,), ())


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("Cat", "cat"), ("STRASSE", "straße"), ("T-shirt_top", "T-shirt/top"), ("ankle_boot", "Ankle boot"), ("01", "1"),
        ("class_001", "class 1"), ("1.0", "1"), ("cafe\u0301", "caf\u00e9"), ("n01440764", "tench"),
        ("tench, Tinca tinca", "n01440764"), ("n02085620-Chihuahua", "n02085620"), ("crane (n02012849)", "n02012849"),
    ],
)  # fmt: skip
def test_names_that_are_the_same_but_for_their_writing_are_matched_aloud(given: str, known: str) -> None:
    for one, other in ((given, known), (known, given)):
        found = match([one, "bird"], ["ant", "bird", other])
        assert found.places == (2, 1)
        (note,) = found.notes
        assert f"{one} is {other}" in note


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("-1", "1"),
        ("1.5", "15"),
        ("v1.2", "v12"),
        ("1_2", "12"),
        ("C", "C++"),
        ("+", "-"),
        ("1", "one"),
        ("n01440764", "dingo"),
        ("की", "का"),
    ],
)
def test_names_that_only_look_alike_are_not_matched(given: str, known: str) -> None:
    with pytest.raises(DataError):
        match(["bird", given], ["bird", known])


def test_what_is_ambiguous_is_taken_letter_by_letter_alone() -> None:
    assert match(["cat", "Cat"], ["Cat", "cat"]).places == (1, 0)
    assert match(["A", "b"], ["a", "A", "b", "B"]).places == (1, 2)
    with pytest.raises(DataError, match="cannot be told apart"):
        match(["CAT", "dog"], ["Cat", "cat", "dog"])
    with pytest.raises(DataError, match="cannot be told apart"):
        match(["cat", "Cat"], ["cat", "dog"])


def test_a_match_of_some_never_makes_places_of_the_rest() -> None:
    with pytest.raises(DataError, match="lacks: wolf"):
        match(["cat", "wolf"], ["cat", "dog"])


def test_numbers_of_wordnet_of_a_whole_set() -> None:
    found = match(list(IMAGEWOOF), sorted(IMAGEWOOF.values()))
    assert [sorted(IMAGEWOOF.values())[k] for k in found.places] == list(IMAGEWOOF.values())


def test_names_against_numbers_need_a_word() -> None:
    with pytest.raises(DataError, match=r"called 0, 1, and .* cat, dog\. .*labels_as_numbers"):
        match(["0", "1"], ["cat", "dog"])
    with pytest.raises(DataError, match="labels_as_numbers"):
        match(["cat", "dog"], ["0", "1"])
    assert match(["1", "0"], ["cat", "dog"], as_numbers=True).places == (1, 0)
    assert match(["cat", "dog"], ["1", "0"], as_numbers=True).places == (1, 0)
    found = match(["Katze", "Hund"], ["cat", "dog"], as_numbers=True)
    assert found.places == (0, 1)
    assert found.notes == ("a class of the test part is its number, as was said: Katze is cat, Hund is dog.",)
    assert match(["dog", "cat"], ["cat", "dog"], as_numbers=True).places == (1, 0)  # names that agree need no numbers
    with pytest.raises(DataError, match="that none of the 2 classes"):
        match(["Katze", "Hund", "Fuchs"], ["cat", "dog"], as_numbers=True)
    with pytest.raises(DataError, match="names say otherwise: dog is dog, cat is cat"):
        match(["dog", "cat", "Fuchs"], ["cat", "dog", "fox"], as_numbers=True)


def test_bare_numbers_against_names() -> None:
    digits = [str(k) for k in range(10)]
    assert match_numbers([9, 0], digits) == ((9, 0), tuple(range(1, 9)), ())
    found = match_numbers([1, 2, 3], ["01", "02", "03"])  # 3 is no place of these three
    assert found.places == (0, 1, 2)
    assert "3 is 03" in found.notes[0]
    for names in (["cat", "dog", "fox"], ["1", "2", "3"]):
        with pytest.raises(DataError, match=r"class numbers without names \(1, 2\).*labels_as_numbers"):
            match_numbers([1, 2], names)
        assert match_numbers([1, 2], names, as_numbers=True).places == (1, 2)
        with pytest.raises(DataError, match="can be 0 to 2 only"):
            match_numbers([1, 3], names, as_numbers=True)


def test_the_value_of_a_name() -> None:
    assert [as_number(name) for name in ("01", "1.50", "-1", "１", "1e3", "ten", "")] == [1, 1.5, -1, 1, None, None, None]
