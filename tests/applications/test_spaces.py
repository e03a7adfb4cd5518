"""Spaces of networks: the 720, parts of them, cells of NAS-Bench-201 and their table, files with faults."""

from itertools import product
from pathlib import Path

import pytest
from small import make_real

from datadam import nets
from datadam.applications.spaces import DRAWN, space_of, table_of
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.nets.nasbench201 import cell_word


@pytest.fixture(scope="module")
def cifar() -> RealData:
    """Three classes of a few 3x32x32 images."""
    return make_real(shape=(3, 32, 32))


def test_the_720_are_all_different_and_all_fit(cifar: RealData) -> None:
    words = space_of("convnet720", cifar)
    assert len(words) == len(set(words)) == 4 * 4 * 3 * 5 * 3 == 720
    assert all(nets.canonical(word, cifar.shape) == word for word in words)
    assert {word[: len("convnet1")] for word in words} == {"convnet1", "convnet2", "convnet3", "convnet4"}
    paper = [word for word in words if ":pool=" in word]  # average pooling is the default and not written
    assert len(paper) == 480  # what the text of the paper, which names two poolings, comes to


def test_a_part_of_the_720(cifar: RealData) -> None:
    words = space_of("convnet720:width=32,64:pool=max:norm=batch", cifar)
    assert len(words) == 4 * 2 * 3
    assert all("norm=batch" in word and "pool=max" in word for word in words)
    with pytest.raises(InvalidInput) as met:
        space_of("convnet720:width=33:pol=max:norm=batch", cifar)
    assert len(met.value.faults) == 2


def test_a_draw_is_named_by_its_seed(cifar: RealData) -> None:
    first, again, other = (space_of("convnet720", cifar, 40, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 40
    assert len(space_of("nasbench201", cifar, 4)) == 4
    assert DRAWN == 100  # of the benchmark's cells, where nobody says how many
    with pytest.raises(InvalidInput, match="count is 721, and convnet720 has 720"):
        space_of("convnet720", cifar, 721)
    with pytest.raises(InvalidInput, match="three networks are the fewest"):
        space_of("convnet720", cifar, 2)


def test_a_file_with_typos_tells_all_of_them(cifar: RealData, tmp_path: Path) -> None:
    file = tmp_path / "nets.txt"
    file.write_text("# mine\nconvnet2:width=8\nconvnt3\nconvnet1:wdth=8\n\nlenet # small\nlenet\nconvnet9:width=4\n")
    with pytest.raises(InvalidInput) as met:
        space_of(str(file), cifar)
    told = str(met.value)
    assert len(met.value.faults) == 4
    for word in ("convnt3", "wdth", "is the same network as 'lenet'", "convnet9 with norm=instance"):
        assert word in told
    file.write_text("convnet2:width=8\nlenet # small\nauto\n")
    assert space_of(str(file), cifar) == ["convnet2:width=8", "lenet", "convnet3"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"lenet\nmlp\n"])
def test_a_file_that_is_no_space(content: bytes, cifar: RealData, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"cannot be read as text|three are the fewest"):
        space_of(str(tmp_path / "x"), cifar)


def test_an_unknown_space_is_told_what_there_is(cifar: RealData) -> None:
    with pytest.raises(InvalidInput, match=r"unknown space 'convnet72'.*Did you mean 'convnet720'"):
        space_of("convnet72", cifar)


def table(path: Path, cells: list[str], **changes: str) -> Path:
    lines = ["index,arch,cifar10_test,cifar100_test"]
    lines += [f"{i},{cell_word(cell)},{80 + i},{changes.get(cell, 50 + i)}" for i, cell in enumerate(cells)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_table_of_the_benchmark(tmp_path: Path) -> None:
    cells = ["333333", "3sa1n3", "nnnnnn"]
    file = table(tmp_path / "t.csv", cells)
    words = ["nasbench201:cell=nnnnnn", "nasbench201"]
    assert table_of(file, words, "cifar10") == {words[0]: 0.82, words[1]: 0.80}
    assert table_of(file, words, "photos", "cifar100_test") == {words[0]: 0.52, words[1]: 0.50}
    for arguments, told in (
        ((file, ["nasbench201:cell=ssssss"], "cifar10"), "lacks 1 of 1 networks"),
        ((file, ["lenet"], "cifar10"), "lenet is none"),
        ((file, words, "photos"), "no column for data named 'photos'"),
        ((file, words, "cifar10", "imagenet"), "has no column imagenet; it has index, arch"),
        ((tmp_path / "none.csv", words, "cifar10"), "cannot be read as a table"),
        ((table(tmp_path / "bad.csv", cells, nnnnnn="high"), words, "cifar100"), "line 4 of .* has 'high'"),
    ):
        with pytest.raises(InvalidInput, match=told):
            table_of(*arguments)  # type: ignore[arg-type]


def test_every_word_of_the_grid_is_its_options(cifar: RealData) -> None:
    """Against a plain writing: depth, width, activation, norm, pooling."""
    depths, widths = ("1", "2", "3", "4"), ("32", "64", "128", "256")
    options = product(
        depths, widths, ("sigmoid", "relu", "leakyrelu"), ("none", "batch", "layer", "instance", "group"), ("none", "max", "avg")
    )
    expected = {
        nets.canonical(f"convnet{d}:width={w}:act={a}:norm={n}:pool={p}", cifar.shape) for d, w, a, n, p in options
    }  # fmt: skip
    assert set(space_of("convnet720", cifar)) == expected
