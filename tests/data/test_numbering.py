"""Labels of files become class numbers: by name, and never by place where a name says otherwise."""

import numpy as np
import pytest

from datadam.data.labels import Labels, counted_from_one, labels_of, labels_of_column
from datadam.data.numbering import joined
from datadam.errors import DataError


def numbers(values: list[int], names: list[str] | None = None, what: str = "a file") -> Labels:
    return labels_of(np.array(values), what, names)


def words(values: list[str], what: str = "a file") -> Labels:
    return labels_of(np.array(values), what)


# ---- what one part holds


def test_labels_in_every_form_say_the_same() -> None:
    given = np.array([1, 0, 2])
    for form in (given, given[:, None], given[:, None, None].astype(np.uint8), np.eye(3)[given], np.eye(3, dtype=bool)[given]):
        assert labels_of(form, "a file").numbers.tolist() == [1, 0, 2]
    assert labels_of(np.eye(3)[given], "a file").notes == ("a file: labels were one-hot: read as class numbers.",)
    assert labels_of(np.array(["b", "a"]), "a file").names == ("a", "b")
    assert labels_of(np.array([[b"b"], [b"a"]]), "a file").numbers.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[1, 1], [0, 1]]), r"multi-label, several an image, .* \[2, 2\], 1 have several 1s and 0 none"),
        (np.array([[0, 0], [0, 1]]), "0 have several 1s and 1 none"),
        (np.array([[0.5, 0.5], [0, 1]]), "soft"),
        (np.array([[3, 1], [0, 1]]), "multi-label"),
        (np.array([0.5, 1]), "integers"),
        (np.zeros((2, 2, 2), int), "integers"),
        (np.array([2**63], dtype=np.uint64), "class numbers"),
    ],
)
def test_what_is_no_label_is_refused_by_name(values: np.ndarray, wanted: str) -> None:
    with pytest.raises(DataError, match=wanted):
        labels_of(values, "a file")


def test_one_hot_labels_of_other_names() -> None:
    with pytest.raises(DataError, match="one-hot for 2 classes, and 3 classes are named"):
        labels_of(np.eye(2), "a file", ["a", "b", "c"])


def test_columns_of_tables() -> None:
    assert labels_of_column([1, None, 0], "f", "label").numbers.tolist() == [1, -1, 0]
    assert labels_of_column([[1], [0]], "f", "label", ["a", "b"]).numbers.tolist() == [1, 0]
    assert labels_of_column([[0, 1], [1, 0]], "f", "label").numbers.tolist() == [1, 0]
    assert labels_of_column([True, False], "f", "label").numbers.tolist() == [1, 0]
    found = labels_of_column(["b", None, "a"], "f", "label")
    assert (found.names, found.numbers.tolist(), found.words) == (("a", "b"), [1, -1, 0], True)
    assert labels_of_column([None, None], "f", "label").unlabelled
    for rows, names in (([[0, 1], [1]], None), ([[0, 1], [1, 0]], ["a", "b"]), ([[], []], None)):
        with pytest.raises(DataError, match="multi-label"):
            labels_of_column(rows, "f", "label", names)
    with pytest.raises(DataError, match=r"column label.*found: int, str"):
        labels_of_column([1, "a"], "f", "label")


def test_numbers_that_count_names_from_1() -> None:
    train, test = counted_from_one([numbers([1, 2, 3], ["a", "b", "c"]), numbers([1, -1], ["a", "b", "c"])])
    assert (train.numbers.tolist(), test.numbers.tolist()) == ([0, 1, 2], [0, -1])
    assert "1 is a, 3 is c" in train.notes[0]
    (same,) = counted_from_one([numbers([1, 2], ["a", "b", "c"])])
    assert same.numbers.tolist() == [1, 2]
    with pytest.raises(DataError, match="Number both from 0 on"):
        counted_from_one([numbers([1, 2, 3], ["a", "b", "c"]), numbers([0, 1], ["a", "b", "c"])])


# ---- both parts


def test_names_in_another_order() -> None:
    found = joined([numbers([0, 1, 2], ["cat", "dog", "fox"])], [numbers([0, 1, 2], ["dog", "fox", "cat"])])
    assert found.classes == ("cat", "dog", "fox")
    assert found.test is not None
    assert found.test.tolist() == [1, 2, 0]
    assert found.notes == ()


def test_files_of_one_part_agree_by_name_and_may_bring_classes() -> None:
    files = [numbers([0, 1], ["cat", "dog"]), numbers([0, 1, 2], ["Dog", "cat", "fox"]), words(["fox", "cat"])]
    found = joined(files)
    assert found.classes == ("cat", "dog", "fox")
    assert found.train.tolist() == [0, 1, 1, 0, 2, 2, 0]
    assert "Dog is dog" in found.notes[0]
    with pytest.raises(DataError, match="cannot be told apart"):
        joined([numbers([0, 1], ["cat", "Cat"]), numbers([0], ["CAT"])])


def test_words_are_sorted_and_numbers_keep_their_value() -> None:
    assert joined([words(["b", "a"]), words(["c"])]).classes == ("a", "b", "c")
    found = joined([numbers([7, 300])], [numbers([300])])
    assert found.classes == ("7", "300")
    assert found.test is not None
    assert found.test.tolist() == [1]
    assert found.notes == ("labels go from 7 to 300 with gaps: the 2 classes are called by these numbers.",)


def test_labels_from_1_on_are_accepted_aloud() -> None:
    found = joined([numbers([2, 1, 3])], [numbers([3])], contiguous=True)
    assert (found.classes, found.train.tolist()) == (("1", "2", "3"), [1, 0, 2])
    assert found.notes == ("labels go from 1 to 3: the 3 classes are called by these numbers.",)
    assert "10 is the digit 0" in joined([numbers(list(range(1, 11)))], contiguous=True).notes[0]
    with pytest.raises(DataError, match="no training image of class 2"):
        joined([numbers([1, 3])], contiguous=True)


def test_a_test_class_that_training_lacks() -> None:
    for train, test in (
        (numbers([0, 1], ["cat", "dog"]), numbers([0, 1, 2], ["ant", "cat", "dog"])),
        (words(["cat", "dog"]), words(["ant", "cat"])),
        (numbers([0, 1], ["cat", "dog"]), words(["ant"])),
    ):
        with pytest.raises(DataError, match="lacks: ant; the training part has cat, dog"):
            joined([train], [test])
    with pytest.raises(DataError, match="lacks: 2; the training part has 0, 1"):
        joined([numbers([0, 1])], [numbers([0, 2])])


def test_names_against_numbers() -> None:
    named, bare = numbers([0, 1], ["cat", "dog"]), numbers([1, 0])
    for train, test in ((named, bare), (bare, named), (words(["cat", "dog"]), bare), (bare, words(["cat", "dog"]))):
        with pytest.raises(DataError, match="labels_as_numbers"):
            joined([train], [test])
        found = joined([train], [test], as_numbers=True)
        assert found.classes == ("cat", "dog")
        assert found.test is not None
        assert (found.train.tolist(), found.test.tolist()) == (train.numbers.tolist(), test.numbers.tolist())
    with pytest.raises(DataError, match="labels_as_numbers"):
        joined([named, bare])
    assert joined([named, bare], as_numbers=True).train.tolist() == [0, 1, 1, 0]


def test_names_that_are_numbers() -> None:
    digits = [str(k) for k in range(10)]
    for train, test in ((numbers(list(range(10)), digits), numbers([7, 0])), (numbers(list(range(10))), numbers([7, 0], digits))):
        found = joined([train], [test])
        assert found.test is not None
        assert found.test.tolist() == [7, 0]
    found = joined([numbers([0, 1, 2], ["1", "2", "3"])], [numbers([3, 1])])  # 3 is no place of three names
    assert found.test is not None
    assert found.test.tolist() == [2, 0]
    with pytest.raises(DataError, match="labels_as_numbers"):  # "1" and "2", or the second and the third?
        joined([numbers([0, 1, 2], ["1", "2", "3"])], [numbers([1, 2])])
    with pytest.raises(DataError, match="labels_as_numbers"):
        joined([numbers([0, 1, 2])], [numbers([0, 1], ["1", "2"])])
    found = joined([numbers([1, 2])], [numbers([1, 0], ["01", "02"])])
    assert found.test is not None
    assert found.test.tolist() == [1, 0]
    assert "02 is 2" in " ".join(found.notes)
    found = joined([words(["1", "2", "3"])], [numbers([1, 2])])  # words have no places
    assert found.test is not None
    assert found.test.tolist() == [0, 1]


def test_images_without_a_label() -> None:
    train, test = numbers([0, -1, 1]), numbers([1, -1, -1])
    wanted = r"1 of 3 training images and 2 of 3 test images have no label .*skip_unlabelled"
    with pytest.raises(DataError, match=wanted):
        joined([train], [test])
    found = joined([train], [test], skip_unlabelled=True)
    assert found.test is not None
    assert (found.train.tolist(), found.test.tolist()) == ([0, 1], [1])
    assert [mask.tolist() for mask in found.kept] == [[True, False, True], [True, False, False]]
    assert found.notes == ("1 of 3 training images and 2 of 3 test images have no label and were left out.",)
    for parts in (([numbers([-1, -1])], None), ([train], [numbers([-1])])):
        with pytest.raises(DataError, match=r"none of the \d (training|test) images has a label"):
            joined(*parts, skip_unlabelled=True)


def test_number_0_that_is_called_nothing() -> None:
    found = joined([numbers([1, 2], ["N/A", "a", "b"])], [numbers([2], ["N/A", "a", "b"])])
    assert found.test is not None
    assert (found.classes, found.train.tolist(), found.test.tolist()) == (("a", "b"), [0, 1], [1])
    assert "'N/A'" in found.notes[0]
    assert joined([numbers([0, 1, 2], ["N/A", "a", "b"])]).classes == ("N/A", "a", "b")


def test_numbers_beyond_the_names() -> None:
    for values in ([0, 1, 2], [0, -2]):
        with pytest.raises(DataError, match=r"2 classes are named \(a, b\), and 1 labels are none of them"):
            joined([numbers(values, ["a", "b"])])
