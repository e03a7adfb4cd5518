"""Errors say in Python what Python can do, and on the command line what it can."""

import pytest

from datadam.cli import app
from datadam.errors import COMMAND_LINE, InvalidInput, NotEnoughMemory, UnknownName

SAID = [
    ("lower --batch-real (now 3), or raise --memory-limit", "lower batch_real (now 3), or raise memory_limit"),
    ("leave out --no-zca", "leave out zca=False"),
    ("go on with: datadam distill --resume runs/a; or take --out", "go on with: datadam distill --resume runs/a; or take out"),
    ("held by 3 (datadam distill mnist), for 3 h: add --take-over", "held by 3 (datadam distill mnist), for 3 h: add take_over"),
    ("a range -- of words - stays", "a range -- of words - stays"),
]


@pytest.mark.parametrize(("text", "python"), SAID)
def test_options_have_their_name_in_python(text: str, python: str) -> None:
    assert str(NotEnoughMemory(text)) == python
    assert str(InvalidInput(text, "more")) == f"- {python}\n- more"
    assert InvalidInput(text).faults == (text,)
    assert python in str(UnknownName("method", "x", ["y"], text))
    token = COMMAND_LINE.set(True)
    assert str(NotEnoughMemory(text)) == text
    COMMAND_LINE.reset(token)


def test_the_command_line_speaks_of_options_only_while_it_is_at_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["evaluate", "--students", "3", "--full", "nowhere"]) == 2
    assert app.run(["baseline", "mnist", "--ipc", "1", "--whole"]) == 2
    assert "--ipc N random images" in capsys.readouterr().err
    assert not COMMAND_LINE.get()
