"""The exam that every method sits, for those of other packages too. It needs no test framework.

    from datadam.testing import exam

    print(exam(Tiny(), lr_images=0.3))

What a method computes is the matter of a test of its own.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from datadam import machine
from datadam.errors import ExamFailed, InvalidInput
from datadam.methods import FeatureMatching, Method
from datadam.methods.catalog import CATALOG
from datadam.testing import parts
from datadam.testing.candidate import Candidate, small_data


@dataclass(frozen=True)
class Examined:
    """What was examined: the `method`, the parts that it `passed`, and those `left_out`, each with its reason."""

    method: str
    passed: tuple[str, ...]
    left_out: dict[str, str]

    def __str__(self) -> str:
        out = [f"  {part}: left out, {why}" for part, why in self.left_out.items()]
        return "\n".join((f"{self.method} passes the exam:", *(f"  {part}" for part in self.passed), *out))


def exam(method: Method, **settings: Any) -> Examined:
    """Let a method sit every part of the exam that is meant for its kind, on small images, in float64, within a minute or so.

    Arguments: `method`, installed or not; `settings`, of a recipe, with which it learns small images where lr_images=0.5 and
    start="real" do not do.
    Raises `ExamFailed`, which is an `AssertionError`, with all parts that it failed; `InvalidInput` for what is no method.
    """
    if not isinstance(method, Method):
        raise InvalidInput(f"the exam is for a method, such as datadam.DM(), and {method!r} came")
    if CATALOG.get(method.name, type(method)) is not type(method):
        raise InvalidInput(
            f"the name {method.name!r} is that of {CATALOG[method.name]!r}; give the class of the method one of its own"
        )
    candidate, passed, left_out, faults = Candidate(method, settings), [], {}, []
    with tempfile.TemporaryDirectory() as cache, machine.threads(1), mock.patch.dict(os.environ, {"DATADAM_CACHE": cache}):
        for name, (fits, part) in PARTS.items():
            if why := fits(method):
                left_out[name] = why
                continue
            try:
                with mock.patch.dict(CATALOG, {method.name: type(method)}):  # so that its cards can be read
                    part(candidate)
                passed.append(name)
            except Exception as error:
                words = str(error) if type(error) is AssertionError else f"{type(error).__name__}: {error}"
                faults.append(f"{name}: {words}")
    if faults:
        raise ExamFailed(method.name, faults)
    return Examined(method.name, tuple(passed), left_out)


def everybody(method: Method) -> str:
    """Why a part is left out; "" for no reason."""
    return ""


def learning(method: Method) -> str:
    """For methods that learn something."""
    return "" if method.learns else "it learns nothing"


def choosing(method: Method) -> str:
    """For coresets."""
    return "" if method.chooses else "it chooses no real images"


def sampling(method: Method) -> str:
    """For generators."""
    return "" if method.samples else "it samples no generator"


def matching(method: Method) -> str:
    """For methods that compare class means and nothing else."""
    if not isinstance(method, FeatureMatching):
        return "it compares no class means"
    return "it also asks what class an image is taken for" if method.reads_labels else ""


def separable(method: Method) -> str:
    """For methods whose loss of a class reads that class alone."""
    return learning(method) or ("" if method.separable else "it is not separable")


def counted(method: Method) -> str:
    """For methods whose arithmetic is that of a network."""
    return learning(method) or ("" if method.needs_network or method.streams else "it looks through no network")


def on_cuda(method: Method) -> str:
    """For methods that learn, where there is a GPU."""
    return learning(method) or ("" if torch.cuda.is_available() else "there is no CUDA device")


PARTS: dict[str, tuple[Callable[[Method], str], Callable[[Candidate], None]]] = {
    "describes itself": (everybody, parts.describes_itself),
    "lowers its loss on held-out networks": (learning, parts.lowers_its_loss),
    "same seed, same images": (everybody, parts.obeys_its_seed),
    "chooses real images of the right class": (choosing, parts.chooses_real_images),
    "samples images of each class": (sampling, parts.samples_images),
    "a class alone gives the same images": (separable, parts.parts_its_classes),
    "the gradient is finite and right": (learning, parts.has_the_right_gradient),
    "order within a class does not matter": (learning, parts.heeds_no_order),
    "chunks change nothing": (learning, parts.heeds_no_chunks),
    "real equal to synthetic gives zero": (matching, parts.is_zero_at_the_real_images),
    "leaves nothing behind": (learning, parts.leaves_nothing_behind),
    "resumes bit-equal": (learning, parts.resumes),
    "resumes bit-equal after an interruption anywhere": (learning, parts.survives_interruptions),
    "goes on after an error": (learning, parts.goes_on_after_an_error),
    "costs what it says": (counted, parts.costs_what_it_says),
    "computes alike on CUDA": (on_cuda, parts.computes_alike_on_cuda),
}


__all__ = ["PARTS", "Candidate", "Examined", "exam", "small_data"]
