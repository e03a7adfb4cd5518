import torch

from datadam.rng import stream


def numbers(*what: str | int, seed: int = 0) -> list[float]:
    return torch.rand(4, generator=stream(seed, *what)).tolist()


def test_the_same_name_gives_the_same_numbers_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    assert numbers("real", 3, "cat") == numbers("real", 3, "cat")
    assert torch.equal(before, torch.get_rng_state())


def test_different_names_or_seeds_give_different_numbers() -> None:
    names = [("a", "bc"), ("ab", "c"), ("abc",), (1,), ("1",), ("a", 1), ("a", "1"), ("a", 11), ("a", 1, 1)]
    found = [tuple(numbers(*name)) for name in names] + [tuple(numbers("a", "bc", seed=1)), tuple(numbers("a", "bc", seed=-1))]
    assert len(set(found)) == len(found)


def test_numbers_are_uniform_across_names() -> None:
    first = torch.stack([torch.rand((), generator=stream(0, "x", i)) for i in range(2000)])
    assert abs(float(first.mean()) - 0.5) < 4 * (1 / 12 / 2000) ** 0.5
    assert abs(float(first.var()) - 1 / 12) < 0.01
