"""How long released code trains a student, when its rate falls, and whether the momentum is lost there.

Its own loop is run, with an epoch that only looks at the optimiser."""

import contextlib
import importlib
import os
import types
from pathlib import Path
from typing import Any
from unittest import mock

import theirs
import torch

KEYS = {
    "dsa": "DatasetCondensation",
    "official": "DataDAM",
    "cafe": "CAFE",
    "dc-bench": "dc_benchmark",
    "eccv24": "ECCV2024-Dataset-Distillation-Challenge",
}


def schedule(repos: Path, protocol: str, epochs: int) -> dict[str, Any] | None:
    """Epochs, the epochs after which the rate changes, the rates, and whether the optimiser is a new one then."""
    seen: list[tuple[float, Any]] = []

    def epoch(mode: str, loader: Any, net: Any, optimizer: Any, *rest: Any, **options: Any) -> tuple[float, float]:
        if mode == "train":
            seen.append((optimizer.param_groups[0]["lr"], optimizer))
        return 0.0, 0.0

    net, folder = torch.nn.Linear(2, 2), repos / KEYS[protocol]
    if not folder.is_dir():
        return None
    args = types.SimpleNamespace(
        device="cpu", lr_net=0.01, epoch_eval_train=epochs, batch_train=256, optimizer="sgd", eval_gap=10**9
    )
    set_ = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    with theirs.modules(folder), contextlib.redirect_stdout(None):
        if protocol == "dc-bench":
            module = importlib.import_module("evaluator.evaluator_utils")
            with mock.patch.object(module.EvaluatorUtils, "epoch", staticmethod(epoch)):
                module.EvaluatorUtils.evaluate_synset(0, net, *set_, None, args, mock.MagicMock())
        elif protocol == "eccv24":
            _challenge(folder, epoch)
        else:
            module = importlib.import_module("utils")
            with (
                mock.patch.object(module, "epoch", epoch),
                mock.patch.object(module, "tqdm", types.SimpleNamespace(tqdm=iter), create=True),
            ):
                module.evaluate_synset(0, net, *set_, None, args)
    falls = [e for e in range(1, len(seen)) if seen[e][0] != seen[e - 1][0]]
    groups = seen[0][1].param_groups[0]
    return {
        "epochs": len(seen), "falls after": falls, "rates": sorted({rate for rate, _ in seen}, reverse=True),
        "new optimiser": [seen[e][1] is not seen[e - 1][1] for e in falls], "momentum": groups["momentum"],
        "weight decay": groups["weight_decay"],
    }  # fmt: skip


def _challenge(folder: Path, epoch: Any) -> None:
    """Its program knows one device, a GPU, and one length: run once, of the networks that it trains."""
    text = (folder / "evaluate.py").read_text().replace("'cuda'", "'cpu'").replace("rounds = 3", "rounds = 1")
    space: dict[str, Any] = {"__name__": "evaluate"}
    with mock.patch.object(os, "system"):
        exec(compile(text, "evaluate.py", "exec"), space)
    space["epoch"], space["tqdm"] = epoch, iter
    images, test = torch.zeros(1000, 3, 32, 32), {"images_val": torch.zeros(1, 3, 32, 32), "labels_val": torch.zeros(1)}
    with mock.patch.object(torch, "load", side_effect=[images, test]):
        space["evaluator"]("cifar100", "", "", gpu_available=False)


def ours(name: str, augment: str) -> dict[str, Any]:
    """The same of one of our protocols."""
    from datadam.evaluation.panel import protocol_named

    training = protocol_named(name, augment=augment).training
    rates = [training.lr_at(e) for e in range(training.epochs)]
    falls = [e for e in range(1, len(rates)) if rates[e] != rates[e - 1]]
    return {
        "epochs": training.epochs, "falls after": falls, "rates": sorted(set(rates), reverse=True),
        "new optimiser": [training.fresh_optimizer for _ in falls], "momentum": training.momentum,
        "weight decay": training.weight_decay,
    }  # fmt: skip
