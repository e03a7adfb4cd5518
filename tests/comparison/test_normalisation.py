"""Comparisons of methods whose presets normalise images by different numbers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import datadam
from datadam.data import RealData
from datadam.data.field import CIFAR
from datadam.evaluation.panel import protocol_named

NET = "convnet1:width=4"


def test_two_normalisations_are_told(real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", lambda: 0)
    known, protocol = replace(real, name="cifar10"), protocol_named("honest", epochs=1)

    def notes(out: str, **more: object) -> list[str]:
        made = datadam.compare(
            known,
            "random,dm",
            ipc=1,
            net=NET,
            iterations=1,
            batch_real=3,
            students=1,
            protocol=protocol,
            out=tmp_path / out,
            **more,
        )  # type: ignore[arg-type]
        return [note for note in made.table["notes"] if "--normalisation treats all alike" in note]

    assert [note.split(" distilled")[0] for note in notes("both")] == ["dm"]
    assert notes("alike", normalisation="field", whole=True, whole_epochs=1) == []
    cards = [json.loads(path.read_text()) for path in (tmp_path / "alike").rglob("card.json")]
    assert [tuple(card["transform"]["std"]) for card in cards] == [CIFAR[1]] * 2
    assert notes("own", normalisation="own") == []
    own = [json.loads(path.read_text())["transform"] for path in (tmp_path / "own").rglob("card.json")]
    assert own == [known.transform.to_card()] * 2
