"""The first images: chosen ones are those of the coreset with features of a random network."""

import pytest
import torch

from datadam.data import RealData
from datadam.data.real import require_members
from datadam.distillation.start import check_ipc, first_images
from datadam.errors import InvalidInput, UnknownName
from datadam.methods import KCenter, KMeans, Random
from datadam.methods.coresets.base import Coreset
from datadam.training import resumable
from datadam.training.insight import Insight


@pytest.mark.parametrize(
    ("start", "method"), [("real", Random()), ("kcenter", KCenter(features="random")), ("kmeans", KMeans(features="random"))]
)
def test_chosen_starts_are_coresets_that_need_no_training(
    real: RealData, start: str, method: Coreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "train_on", None)
    images = first_images(real, 4, start, 3)
    assert images.dtype == torch.float32
    assert torch.equal(images, real.images(torch.cat(method.choose(Insight(real, 3), 4))))


def test_first_images_do_not_depend_on_how_many_are_made_at_once(real: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = first_images(real, 4, "real", 3)
    monkeypatch.setattr("datadam.distillation.start.images_at_once", lambda shape: 5)
    assert torch.equal(first_images(real, 4, "real", 3), whole)
    more = first_images(real, 6, "run", 3, earlier=whole)
    assert torch.equal(more.unflatten(0, (3, 6))[:, :4], whole.unflatten(0, (3, 4)))


def test_noise_has_a_stream_for_each_class(real: RealData) -> None:
    images = first_images(real, 4, "noise", 0).unflatten(0, (3, 4))
    fewer = first_images(real.subset([2, 0]), 4, "noise", 0).unflatten(0, (2, 4))
    assert torch.equal(fewer, images[[2, 0]])
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(first_images(real, 4, "noise", 1).unflatten(0, (3, 4)), images)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 3, 8, 9), (3, 1, 8, 8)])
def test_images_of_other_data_are_no_start(real: RealData, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="start from a run on the same data"):
        first_images(real, 4, "run", 0, earlier=torch.zeros(shape))


def test_what_the_data_cannot_give_is_refused(real: RealData) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'kcenter'"):
        check_ipc(real, 1, "kcentre")
    with pytest.raises(InvalidInput, match="at least 1"):
        check_ipc(real, 0, "noise")
    check_ipc(real, 99, "noise")
    check_ipc(real, 12, "kmeans")
    with pytest.raises(InvalidInput, match=r"ask for at most 12, or start from noise$"):
        check_ipc(real, 13, "kmeans")
    with pytest.raises(InvalidInput, match=r"ask for at most 12$"):
        require_members(real, 13)
