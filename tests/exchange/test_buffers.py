"""Experts of released code: read as they are, and refused where they are something else."""

import pickle
from pathlib import Path

import pytest
import torch
from small import make_real
from torch import Tensor

from datadam import nets
from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange.buffers import import_experts
from datadam.training.experts import open_experts

NET = "convnet1:width=4"


def expert(seed: int, epochs: int = 2) -> list[list[Tensor]]:
    """As the released code keeps one: after each epoch the parameters of a network."""
    shapes = [parameter.shape for parameter in nets.build(NET, shape=(3, 8, 8), classes=3).parameters()]
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(epochs + 1)]


@pytest.mark.parametrize("old", [False, True], ids=["archive", "before torch 1.6"])
def test_they_are_read_in_the_order_of_their_numbers(tmp_path: Path, old: bool) -> None:
    real, experts = make_real(), [expert(seed) for seed in range(4)]
    for number, those in ((2, experts[:1]), (10, experts[1:])):
        torch.save(those, tmp_path / f"replay_buffer_{number}.pt", _use_new_zipfile_serialization=not old)
    (tmp_path / "other.pt").write_bytes(b"of something else")
    made = import_experts(tmp_path, real, tmp_path / "out", net=NET)
    assert (made.networks, made.epochs) == (4, 2)
    for number in range(4):
        for stamp, found in zip(experts[number], made.weights(number, 0, 1, 2), strict=True):
            assert torch.equal(found, torch.cat([part.flatten() for part in stamp]))
    assert open_experts(f"experts:{tmp_path / 'out'}", real, NET, 2) == made
    made.check(deep=True)
    assert made.about["imported"] == ["replay_buffer_2.pt", "replay_buffer_10.pt"]
    with pytest.raises(InvalidInput, match="is not empty"):
        import_experts(tmp_path, real, tmp_path / "out", net=NET)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("open('harm', 'w')",))


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([expert(0), expert(1, epochs=3)], "of 3 epochs, and others have 2"),
        ([[]], "no list of experts"),
        ([expert(0)[:1]], "no list of experts"),
        ({"experts": expert(0)}, "no list of experts"),
        (torch.zeros(3), "no list of experts"),
        ([[[torch.zeros(3)], [torch.zeros(3)]]], "another network than convnet1:width=4 .*name theirs with net"),
        ([[["weights"], ["weights"]]], "no list of tensors"),
        ([[expert(0)[0]] * 3], "same weights after every epoch"),
        ([[expert(0)[0], [part / 0 for part in expert(1)[0]]]], "not finite"),
        ([expert(0), Hostile()], "could run a program"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_what_is_something_else_is_refused_and_leaves_nothing(tmp_path: Path, held: object, told: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(held, tmp_path / "replay_buffer_0.pt")
    with pytest.raises(ArtifactError, match=told):
        import_experts(tmp_path / "replay_buffer_0.pt", make_real(), tmp_path / "out", net=NET)
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "out/index.json").exists()
    assert not (tmp_path / "out/states").exists()


def test_damaged_files_and_none_at_all_are_refused(tmp_path: Path) -> None:
    torch.save([expert(0)], tmp_path / "replay_buffer_0.pt")
    (tmp_path / "short.pt").write_bytes((tmp_path / "replay_buffer_0.pt").read_bytes()[:-400])
    (tmp_path / "plain.pt").write_bytes(pickle.dumps([1]))
    (tmp_path / "empty").mkdir()
    for name, told in (
        ("short.pt", "truncated or damaged"),
        ("plain.pt", "no file of torch.save"),
        ("empty", "has no replay_buffer_N.pt"),
    ):
        with pytest.raises(ArtifactError, match=told):
            import_experts(tmp_path / name, make_real(), tmp_path / "out", net=NET)
    with pytest.raises(InvalidInput, match="allowed: float32, float16"):
        import_experts(tmp_path, make_real(), tmp_path / "out", net=NET, form="float8")
