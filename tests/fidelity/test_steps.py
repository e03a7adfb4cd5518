"""Three image steps of every method that has released code: as that code makes them, in formulas and in datadam."""

from collections.abc import Callable
from typing import Any

import pytest
from fidelity import case, formulas, product
from torch import Tensor

GOLDEN = case.golden()["steps"]


@pytest.mark.parametrize("writing", [formulas.steps, product.steps], ids=["formulas", "datadam"])
@pytest.mark.parametrize("method", sorted(GOLDEN))
def test_three_image_steps(method: str, writing: Callable[[str, dict[str, Any]], list[Tensor]]) -> None:
    """How the images have moved. CAFE is that of the released code, which counts the alignment of the embedding twice."""
    made = writing(method, GOLDEN[method])
    assert [
        case.apart(case.told(x - case.start()), told) < 1e-10 for x, told in zip(made, GOLDEN[method]["told"], strict=True)
    ] == [True] * case.STEPS


def test_every_operation_is_among_them() -> None:
    for method in set(GOLDEN) - {"dc"}:
        assert {move["operation"] for step in GOLDEN[method]["augmentations"] for move in step} == set(formulas.OPERATIONS)
    assert not GOLDEN["dc"]["augmentations"]


def test_a_method_told_apart_from_its_kin() -> None:
    """The numbers can tell: those of one method are not those of another."""
    told = {method: steps["told"][0] for method, steps in GOLDEN.items()}
    assert all(case.apart(told[a], told[b]) > 1e-3 for a in told for b in told if a != b)
