"""Which suites are run, and how. What they need is in requirements.txt."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """One source distribution with tests in it."""

    name: str
    distribution: str
    version: str
    at_least: int
    """So many tests pass stock; fewer mean that something is missing, and the comparison means little."""
    arguments: tuple[str, ...] = ("tests",)
    """For pytest. Plugins of other suites are switched off: they all live in one environment."""
    aliased: bool = False
    """`import httpx` means httpx2, and httpcore httpcore2."""
    since: tuple[int, int] = (3, 10)


def _without(*plugins: str) -> tuple[str, ...]:
    return tuple(word for plugin in plugins for word in ("-p", f"no:{plugin}"))


_HTTPX = ("tests", "-m", "not network", *_without("asyncio", "trio", "pytest_httpx", "respx"))

SUITES = (
    Suite("httpcore", "httpcore", "1.0.9", 210, ("tests", *_without("asyncio", "pytest_httpx", "respx"))),
    Suite("httpx", "httpx", "0.28.1", 1390, _HTTPX),
    # Many of its tests are about what httpx2 does otherwise; they fail stock as well.
    Suite("httpx2", "httpx", "0.28.1", 1000, _HTTPX, aliased=True, since=(3, 11)),
    Suite("httpx-sse", "httpx-sse", "0.4.3", 1, ("tests", *_without("trio", "pytest_httpx", "respx"))),
    Suite("httpx-ws", "httpx-ws", "0.9.0", 1, ("tests", *_without("trio", "pytest_httpx", "respx"))),
    Suite("pytest-httpx", "pytest-httpx", "0.36.2", 1, ("tests", *_without("trio", "respx"))),
)
