"""The gradient through a training, held against a plain unroll, finite differences and TESLA's formula."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from datadam import nets
from datadam.augment.siamese import STRATEGY, draw_augmentation
from datadam.methods import student, trajectory
from datadam.methods.student import Student
from datadam.methods.trajectory import Step, Through
from datadam.nets import Network
from datadam.sets.decoders import Grid

SHAPE, K, N = (3, 8, 8), 3, 6


def network(spec: str = "convnet2:width=4") -> Network:
    return nets.build(spec, shape=SHAPE, classes=K).double()


def flat(net: Network) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batches(count: int, size: int, augment: str = STRATEGY) -> list[Step]:
    """Random batches of the training images, each with an augmentation of its own."""
    steps = []
    for i in range(count):
        chosen = torch.randperm(N, generator=torch.Generator().manual_seed(i))[:size]
        steps.append(Step(chosen, draw_augmentation(augment, 0, "step", i, images=size)))
    return steps


def distance(target: Tensor, start: Tensor) -> trajectory.Outcome:
    def outcome(weights: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        scale = (start - target).square().sum()
        return {"distance": (weights - target).square().sum()[None] / scale}, 2 * (weights - target) / scale

    return outcome


def unrolled(
    net: Network, start: Tensor, target: Tensor, images: Tensor, labels: Tensor, rate: Tensor, steps: Sequence[Step],
    momentum: float = 0.0,
) -> Tensor:  # fmt: skip
    """The loss with the graphs of all steps, as anyone would write it."""
    names = [name for name, _ in net.named_parameters()]
    shapes = [parameter.shape for parameter in net.parameters()]
    weights, velocity = start.clone().requires_grad_(), torch.zeros_like(start)
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    for step in steps:
        x = images[step.chosen]
        x = step.augment(x) if step.augment else x
        parts = weights.split([shape.numel() for shape in shapes])
        named = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        logits, y = functional_call(net, named | buffers, (x,)), labels[step.chosen]
        loss = -(y.softmax(1) * logits.log_softmax(1)).sum(1).mean() if y.is_floating_point() else F.cross_entropy(logits, y)
        (slope,) = torch.autograd.grad(loss, weights, create_graph=True)
        velocity = momentum * velocity + slope
        weights = weights - rate * velocity
    return (weights - target).square().sum() / (start - target).square().sum()


class Case:
    """A network, two of its trajectories' ends, and what a student learns from."""

    def __init__(
        self, spec: str = "convnet2:width=4", *, soft: bool = False, steps: int = 5, size: int = 4, augment: str = STRATEGY
    ):
        self.net = network(spec)
        self.start = flat(self.net)
        self.target = self.start + 0.02 * numbers(len(self.start), seed=1)
        self.images, self.rate = numbers(N, *SHAPE, seed=2), torch.tensor(0.3, dtype=torch.float64)
        self.labels = numbers(N, K, seed=3) if soft else torch.arange(N) % K
        self.steps = batches(steps, size, augment)

    def walked(self, momentum: float = 0.0, *, exact: bool = True, chunk: int = 1 << 30) -> Through:
        return trajectory.through(
            Student(self.net, chunk=chunk), self.start, self.images, self.labels, self.rate, self.steps,
            distance(self.target, self.start), momentum=momentum, exact=exact,
        )  # fmt: skip

    def plain(self, momentum: float = 0.0) -> tuple[Tensor, list[Tensor]]:
        soft = self.labels.is_floating_point()
        learned = [self.images.clone().requires_grad_(), self.rate.clone().requires_grad_()]
        learned += [self.labels.clone().requires_grad_()] if soft else []
        labels = learned[2] if soft else self.labels
        loss = unrolled(self.net, self.start, self.target, learned[0], labels, learned[1], self.steps, momentum)
        return loss.detach(), list(torch.autograd.grad(loss, learned))


def agree(found: Through, plain: tuple[Tensor, list[Tensor]]) -> None:
    loss, (of_images, of_rate, *of_labels) = plain
    torch.testing.assert_close(found.terms["distance"][0], loss, rtol=1e-10, atol=0)
    for one, other in zip((found.images, found.rate, found.labels), (of_images, of_rate, *of_labels), strict=False):
        assert one is not None
        assert float((one - other).abs().max()) <= 1e-10 * float(other.abs().max())
    assert (found.labels is None) == (not of_labels)


@pytest.mark.parametrize("steps", [1, 2, 10, 20])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_it_is_that_of_the_plain_unroll(steps: int, momentum: float) -> None:
    case = Case(steps=steps)
    agree(case.walked(momentum), case.plain(momentum))


@pytest.mark.parametrize(
    "spec",
    [
        "convnet1:act=sigmoid:pool=max:width=4", "convnet2:norm=batch:width=4", "convnet2:norm=none:width=4",
        "convnet2:norm=group:width=4", "convnet2:norm=layer:width=4", "mlp:width=6", "vit:depth=1:heads=2:width=8",
    ],
)  # fmt: skip
def test_whatever_the_network(spec: str) -> None:
    case = Case(spec, soft=True, steps=4)
    before = {name: value.clone() for name, value in case.net.state_dict().items()}
    agree(case.walked(0.9), case.plain(0.9))
    assert all(torch.equal(value, before[name]) for name, value in case.net.state_dict().items())


def test_with_soft_labels_and_all_images_a_step_in_chunks() -> None:
    case = Case(soft=True, steps=6, size=N)
    agree(case.walked(0.3, chunk=4), case.plain(0.3))


def test_through_a_decoder() -> None:
    """What the decoder makes of stored images has this gradient, which goes on through the decoder."""
    case, stored = Case(steps=3, augment="none"), numbers(1, *SHAPE, seed=7).repeat(2, 1, 1, 1).requires_grad_()
    decoded = Grid(2)(stored)[:N]
    loss = unrolled(case.net, case.start, case.target, decoded, case.labels, case.rate, case.steps)
    (expected,) = torch.autograd.grad(loss, stored, retain_graph=True)
    case.images = decoded.detach()
    (found,) = torch.autograd.grad(decoded, stored, case.walked().images)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_it_is_what_finite_differences_say() -> None:
    case, step = Case(soft=True, steps=4), 1e-5
    found = case.walked(0.4)
    for name, gradient in (("images", found.images), ("labels", found.labels), ("rate", found.rate)):
        here, way = getattr(case, name), numbers(*getattr(case, name).shape, seed=9)
        ends = []
        for sign in (1, -1):
            setattr(case, name, here + sign * step * way)
            ends.append(float(case.walked(0.4).terms["distance"]))
        setattr(case, name, here)
        assert gradient is not None
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((gradient * way).sum()), rel=1e-5)


def test_the_approximation_is_teslas_formula() -> None:
    """The gradient of || start - rate * G - target ||^2 / scale, where the weights that g_i are taken at count as constants."""
    case = Case(steps=5)
    scale, weights, slopes = (case.start - case.target).square().sum(), [case.start], []
    images, rate = case.images.clone().requires_grad_(), case.rate.clone().requires_grad_()
    student = Student(case.net)
    for step in case.steps:
        assert step.augment is not None
        leaf = weights[-1].clone().requires_grad_()
        loss = student.loss(leaf, step.augment(images[step.chosen]), case.labels[step.chosen]) / len(step.chosen)
        slopes.append(torch.autograd.grad(loss, leaf, create_graph=True)[0])
        weights.append((weights[-1] - case.rate * slopes[-1]).detach())
    loss = (case.start - rate * torch.stack(slopes).sum(0) - case.target).square().sum() / scale
    expected = torch.autograd.grad(loss, [images, rate])
    found = case.walked(exact=False)
    torch.testing.assert_close(found.images, expected[0], rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.rate, expected[1], rtol=1e-9, atol=0)
    assert float(torch.cosine_similarity(found.images.flatten(), case.walked().images.flatten(), dim=0)) < 0.999


def test_traced_it_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a resumed run, which traces later, ends as one that was not interrupted."""
    case = Case(soft=True, steps=3)
    plain = case.walked(0.3)
    monkeypatch.setattr(student, "TRACING_PAYS", 1)  # in the middle of the training
    traced, (loss, of) = case.walked(0.3), case.plain(0.3)
    assert all(torch.equal(getattr(plain, name), getattr(traced, name)) for name in ("images", "labels", "rate"))
    agree(traced, (loss, of))


def test_a_traced_step_takes_images_in_any_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one channel, as an augmentation may leave them: contiguous, with the stride of channels that lie last."""
    monkeypatch.setattr(student, "TRACING_PAYS", 1)
    network = nets.build("convnet2:width=4", shape=(1, 8, 8), classes=3).double()
    weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    images, labels, learner = torch.rand(6, 1, 8, 8, dtype=torch.float64), torch.arange(6) % 3, Student(network)
    slopes = [learner.slope(weights, images, labels) for _ in range(3)]
    last = torch.empty_strided(images.shape, (64, 1, 8, 1), dtype=torch.float64).copy_(images)
    assert last.is_contiguous()
    for slope in (*slopes, learner.slope(weights, last, labels)):
        torch.testing.assert_close(slope, slopes[0], rtol=1e-12, atol=1e-14)


def test_in_bfloat16_it_is_nearly_the_same() -> None:
    """With weights, norms and sums in float32: convolutions and products alone are rounded."""
    case = Case("convnet2:width=8", steps=8)
    for name in ("start", "target", "images", "rate"):
        setattr(case, name, getattr(case, name).float())
    case.net.float()
    fine, coarse = (
        trajectory.through(
            Student(case.net, coarse=coarse), case.start, case.images, case.labels, case.rate, case.steps,
            distance(case.target, case.start),
        )
        for coarse in (False, True)
    )  # fmt: skip
    assert coarse.images.dtype == coarse.rate.dtype == torch.float32
    assert not torch.equal(fine.images, coarse.images)
    assert float(torch.cosine_similarity(fine.images.flatten(), coarse.images.flatten(), dim=0)) > 0.98
    rounding = 8 * 2.0**-7  # of eight steps, each of which may be off by the last bit of bfloat16's eight
    torch.testing.assert_close(coarse.terms["distance"], fine.terms["distance"], rtol=rounding, atol=0)


def test_one_step_is_the_same_either_way() -> None:
    case = Case(steps=1)
    assert torch.allclose(case.walked(exact=False).images, case.walked().images, rtol=1e-12, atol=0)


def test_no_graph_and_no_more_than_the_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each step that is behind, the weights alone are alive when a step's own graph is made."""
    import gc

    case, alive = Case(steps=12), []
    run = Student._run

    def counted(self: Student, *arguments: object) -> tuple[Tensor, ...]:
        found = run(self, *arguments)  # type: ignore[arg-type]
        alive.append(sum(t.numel() for t in gc.get_objects() if type(t) is Tensor and t.shape == case.start.shape))
        assert not any(t.requires_grad for t in found)
        return found

    monkeypatch.setattr(Student, "_run", counted)
    case.walked()
    assert max(alive) <= (12 + 8) * len(case.start)
