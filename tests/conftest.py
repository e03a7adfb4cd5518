"""Small data and runs that many tests share."""

from collections.abc import Callable, Iterator

import pytest
import torch
from small import make_real

import datadam
from datadam.data import RealData
from datadam.recipe import Recipe

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What coresets train is kept for the session, and neither read from nor left in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATADAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def real() -> RealData:
    """Three classes of twelve 3x8x8 images."""
    return make_real()


@pytest.fixture
def recipe(real: RealData) -> Callable[..., Recipe]:
    """A tiny recipe in float64; keyword arguments change settings."""

    def make(preset: str = "datadam", ipc: int = 2, **settings: object) -> Recipe:
        tiny = {"net": "convnet2:width=6", "iterations": 4, "batch_real": 5, "precision": "float64"}
        return datadam.preset(preset, real, ipc=ipc).change(tiny | settings)

    return make
