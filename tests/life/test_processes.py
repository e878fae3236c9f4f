"""Chapter L: exits and forks, each in a process of its own. `nox -s life` runs each of them 200 times."""

from __future__ import annotations

from collections.abc import Iterator

import lab
import pytest
from programs import PROGRAMS, Place


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with lab.place() as place:
        yield place


@pytest.mark.timeout(2 * lab.HANG)
@pytest.mark.parametrize("name", PROGRAMS)
def test_process_ends_as_it_should(name: str, place: Place) -> None:
    """The program's own exit code, at once, and without a word."""
    outcome = lab.run(name, place)
    assert outcome.wrong is None, outcome.wrong


@pytest.mark.parametrize(
    "name", ["exit_atexit", "exit_threads_busy", "exit_loop_in_thread", "fork_busy_threads"]
)
@pytest.mark.parametrize(
    ("options", "environment"),
    [(("-X", "dev", "-W", "ignore::ResourceWarning"), {}), ((), {"PYTHONMALLOC": "debug"})],
    ids=["dev", "malloc"],
)
def test_checking_interpreters(
    name: str, options: tuple[str, ...], environment: dict[str, str], place: Place
) -> None:
    """L-26: the interpreter's own checks find nothing. What a program leaves open on purpose it may say."""
    outcome = lab.run(name, place, *options, **environment)
    assert outcome.wrong is None, outcome.wrong
