"""The time left: learned from what is most alike."""

import pytest

from datadam.comparison.clock import Clock


def test_nothing_is_known_at_first_but_a_guess() -> None:
    clock = Clock()
    assert clock.expect(("make", "dm"), 100.0) is None
    assert clock.expect(("make", "dm"), 100.0, prior=7.0) == 7.0


def test_the_same_key_goes_before_a_guess_before_the_same_kind_before_the_rest() -> None:
    clock = Clock()
    clock.learn(("judge", "mlp"), 10.0, 1.0)
    assert clock.expect(("make", "dm"), 100.0) == 10.0  # a unit is a unit
    clock.learn(("make", "dsa"), 10.0, 5.0)
    assert clock.expect(("make", "dm"), 100.0) == 50.0
    assert clock.expect(("make", "dm"), 100.0, prior=7.0) == 7.0
    clock.learn(("make", "dm"), 10.0, 2.0)
    clock.learn(("make", "dm"), 30.0, 2.0)
    assert clock.expect(("make", "dm"), 100.0, prior=7.0) == pytest.approx(10.0)


def test_pieces_and_operations_do_not_mix() -> None:
    clock = Clock()
    clock.learn(("choose", "random"), 1.0, 3.0)
    assert clock.expect(("make", "dm"), 1e12) is None
    assert clock.expect(("choose", "kcenter"), 1.0) == 3.0
    clock.learn(("judge", "mlp"), 1e12, 2.0)
    assert clock.expect(("choose", "herding"), 1.0) == 3.0


def test_what_comes_once_a_part_does_not_grow_with_its_size() -> None:
    clock = Clock()
    clock.learn(("judge", "mlp"), 10.0, 41.0, fixed=40.0)  # compiling and testing
    assert clock.expect(("judge", "mlp"), 1000.0) == pytest.approx(140.0)  # and not 4 100
    clock.learn(("judge", "mlp"), 10.0, 1.0, fixed=5.0)  # no more than all of it
    assert clock.expect(("judge", "mlp"), 20.0) == pytest.approx(20.5 + 1.0)
