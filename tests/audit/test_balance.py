"""Recall of each class, worked out by hand."""

import numpy as np
import pytest

from datadam.audit.balance import balance
from datadam.audit.intervals import wilson


def test_recalls_and_their_spread() -> None:
    first = np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]])
    second = np.array([[10, 0, 0], [7, 3, 0], [0, 0, 0]])
    found = balance([first, second])
    assert [one["recall"]["value"] if one["recall"] else None for one in found["classes"]] == [0.9, 0.4, None]
    assert found["classes"][0]["students"] == [0.8, 1.0]
    assert found["classes"][1]["recall"] == wilson(4, 10).to_json()
    assert [one["images"] for one in found["classes"]] == [10, 10, 0]
    assert (found["worst"], found["best"], found["students"]) == (1, 0, 2)
    assert found["gap"] == pytest.approx(0.5)
    assert found["std"] == pytest.approx(0.25)
    assert found["mean"] == pytest.approx(26 / 40)
