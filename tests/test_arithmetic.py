"""Which number format is fast here: asked of the machine, measured once, and never guessed from a word alone."""

import pytest

from datadam import arithmetic, machine


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A processor with instructions for bfloat16, what is measured on it, and how often that was done."""
    times: list[float] = []

    def of(gain: float, instructions: bool = True) -> list[float]:
        def measure() -> float:
            times.append(gain)
            return gain

        monkeypatch.setattr(machine, "has_bfloat16", lambda: instructions)
        monkeypatch.setattr(arithmetic, "_measured", measure)
        return times

    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    arithmetic.bfloat16_gain.cache_clear()
    yield of
    arithmetic.bfloat16_gain.cache_clear()


@pytest.mark.parametrize(("gain", "format_"), [(0.4, "float32"), (1.19, "float32"), (1.2, "bfloat16"), (9.0, "bfloat16")])
def test_auto_is_what_was_measured_to_be_faster(measured, gain: float, format_: str) -> None:
    measured(gain)
    assert arithmetic.fast_precision() == arithmetic.settled("auto") == format_
    assert [arithmetic.settled(word) for word in ("float64", "float32", "bfloat16")] == ["float64", "float32", "bfloat16"]


def test_it_is_measured_once_a_machine_and_not_once_a_process(measured) -> None:
    times = measured(3.0)
    for _ in range(2):
        assert arithmetic.bfloat16_gain() == 3.0
        arithmetic.bfloat16_gain.cache_clear()  # as a new process begins
    assert times == [3.0]


def test_nothing_is_measured_without_instructions_and_the_choice_is_told(measured) -> None:
    times = measured(3.0, instructions=False)
    assert arithmetic.fast_precision() == "float32"
    assert not times
    assert "no instructions for bfloat16" in arithmetic.remark_on("bfloat16")
    assert [arithmetic.remark_on(word) for word in ("float32", "float64")] == ["", ""]


def test_the_measurement_is_a_ratio_of_times() -> None:
    assert 0 < arithmetic._measured() < 1000
