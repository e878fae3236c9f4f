"""What must hold, and how it is judged. Takes figures that others measured; prints nothing.

A *must* is what a release stands by; a *moonshot* is where the work goes on to. Both are ratios within one
run, in which both sides took turns, or limits that do not depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from .rounds import Result
from .variants import OWN_SERVER, QUEUED, ROWS, Row, Variant

MIB = 1024 * 1024
# Rates of one and the same program differ by so much from run to run; CPU time per unit hardly does.
NEAR = 0.15

HOLDS, FAILS, UNKNOWN, REACHED = "holds", "does not hold", "not measured", "holds, and the moonshot"


@dataclass(frozen=True)
class Claim:
    """Ours against one peer, or against a ceiling, in one row: how many times its rate."""

    row: str
    peer: str
    must: float
    moonshot: float = 0.0  # 0 where there is none
    growth: int = 0  # bytes of resident memory during a transfer; 0 where memory is not part of the claim
    own: str = ""  # the variant that is meant by ours, where it is not the row's first

    def __str__(self) -> str:
        own = f", {self.own}" if self.own else ""
        growth = f", memory growth below {self.growth // MIB} MiB" if self.growth else ""
        return f"{self.row}{own}: against {self.peer}{growth}"


@dataclass(frozen=True)
class Cost:
    """Ours in one row by ours in another: how many times the CPU time per request, at most."""

    row: str
    base: str
    must: float
    moonshot: float

    def __str__(self) -> str:
        return f"{self.row}: CPU per request against {self.base}"


@dataclass(frozen=True)
class Verdict:
    claim: str
    must: str
    moonshot: str
    figure: str
    word: str

    def as_dict(self) -> dict[str, str]:
        return dict(self.__dict__)


_HTTPX_64, _HTTPX_1 = "GET, under httpx, asyncio, c=64", "GET, under httpx, asyncio, c=1"
_POOL_64, _POOL_1 = "GET, pool, asyncio, c=64", "GET, pool, asyncio, c=1"
_HTTPX_SYNC_1 = "GET, under httpx, sync, 1 threads"
_SYNC_1, _SYNC_16 = "GET, pool, sync, 1 threads", "GET, pool, sync, 16 threads"
_TLS_64, _HTTP2_64 = "GET over TLS, under httpx, asyncio, c=64", "GET over HTTP/2, under httpx, asyncio, c=64"
_TLS_CONNECT = "new connections over TLS, under httpx, asyncio, c=16"
_TLS_CONNECT_SYNC = "new connections over TLS, under httpx, sync, 1 threads"
_BY_PYTHON = "httpx + httpcore_hyper, tls=python"

CLAIMS: tuple[Claim | Cost, ...] = (
    Claim(_HTTPX_64, "httpx + null pool", 0.85, 1.0),
    Claim(_HTTPX_64, "httpx", 7, 10),
    Claim(_HTTPX_64, "httpx2", 3.5, 4.5),
    Claim(_HTTPX_64, "httpx-aiohttp", 1.6, 2),
    Claim(_HTTPX_64, "httpx + pyreqwest", 1.4, 1.8),
    Claim(_HTTPX_64, "httpx + null pool", 0.7, 0.85, own="httpx + install()"),
    Claim(_HTTPX_1, "httpx + null pool", 0.7, 0.85),
    Claim(_HTTPX_1, "httpx", 2.3, 3),
    Claim(_HTTPX_1, "httpx-aiohttp", 1.35, 1.6),
    Claim(_HTTPX_1, "httpx + pyreqwest", 1.35, 1.6),
    Claim(_HTTPX_SYNC_1, "httpx + null pool", 0.75, 0.9),
    Claim("GET, under httpx, sync, 16 threads", "httpx + null pool", 0.85, 1.0),
    # The two with one request at a time once more, without the machine's waking another core up.
    Claim(f"{_HTTPX_1}, one core", "httpx + null pool", 0.7, 0.85),
    Claim(f"{_HTTPX_SYNC_1}, one core", "httpx + null pool", 0.75, 0.9),
    Claim(_POOL_1, "aiohttp", 1.4, 2),
    Claim(_POOL_1, "pyreqwest", 1.25, 1.8),
    Claim(_POOL_64, "httpcore2", 15, 25),
    Claim(_POOL_64, "aiohttp", 3.5, 5),
    # Once more, without nginx's second segment, for which the kernel of a client sends an acknowledgement.
    Claim(f"{_POOL_64}, {OWN_SERVER}", "aiohttp", 3.5, 5),
    Claim(_POOL_64, "pyreqwest", 1.8, 3),
    Claim("GET, pool, uvloop, c=64", "pyreqwest", 1.0, 1.5),
    Claim("GET, pool, trio, c=1", "httpcore2", 2.7, 4.5),
    Claim("GET, pool, trio, c=64", "httpcore2", 10, 15),
    Cost("GET, pool, asyncio, c=512", _POOL_64, 1.3, 1.1),
    Cost(f"GET, pool, asyncio, c={QUEUED}", _POOL_64, 1.3, 1.1),
    Claim(_SYNC_1, "pycurl", 1.05, 1.3),
    Claim(_SYNC_16, "pycurl", 1.0, 1.3),
    Claim(_SYNC_1, "httpcore", 2),
    Claim(f"{_SYNC_1}, one core", "httpcore", 2),
    Claim("download 256 MB, pool, asyncio", "pyreqwest", 0.95, 1.5),
    Claim("download 256 MB, pool, sync", "pycurl", 1.2, 2),
    Claim("download 256 MB, under httpx, asyncio", "httpx", 2, growth=8 * MIB),
    Claim("download 256 MB, under httpx, sync", "httpx", 2, growth=8 * MIB),
    Claim("upload 100 MB bytes, pool, sync", "httpcore", 0.9, 1.2),
    Claim("GET beside computing, pool, asyncio, c=64", "aiohttp", 3, 8),
    Claim(_TLS_64, "httpx", 5),
    Claim(_TLS_64, "httpx-aiohttp", 1.3),
    Claim(_TLS_64, "httpx + httpcore_hyper, without TLS", 0.85),
    Claim("download 256 MB over TLS, under httpx, asyncio", "httpx", 1.5),
    Claim("download 256 MB over TLS, under httpx, sync", "httpx", 1.5),
    Claim(_TLS_CONNECT, "httpx", 0.9),
    Claim(_TLS_CONNECT, _BY_PYTHON, 1),
    Claim(_TLS_CONNECT_SYNC, "httpx", 0.9),
    Claim(_TLS_CONNECT_SYNC, _BY_PYTHON, 1),
    Claim(_HTTP2_64, "httpx", 2.5),
    Claim(_HTTP2_64, "httpx2", 2.2),
    Claim(_HTTP2_64, "httpx + httpcore_hyper, HTTP/1.1", 0.8),
)


def named(row: Row) -> list[Variant]:
    """The variants of a row that a claim is about; none if there is no claim about the row."""
    names = set()
    for claim in CLAIMS:
        if isinstance(claim, Claim) and claim.row == row.name:
            names |= {claim.peer, claim.own}
        elif isinstance(claim, Cost) and row.name in (claim.row, claim.base):
            names.add("")
    # Bare sockets tell what could be reached at all.
    return [each for each in row.variants() if names and (each.ours or each.bare or each.name in names)]


def check_names() -> None:
    """A claim about what nobody measures would never fail."""
    rows = {row.name: [variant.name for variant in row.variants()] for row in ROWS}
    for claim in CLAIMS:
        for name in (claim.row,) if isinstance(claim, Claim) else (claim.row, claim.base):
            if name not in rows:
                raise LookupError(f"no row is called {name!r}")
        if isinstance(claim, Claim):
            for name in filter(None, (claim.peer, claim.own)):
                if name not in rows[claim.row]:
                    raise LookupError(f"{name!r} is not in the row {claim.row!r}")


def acceptance(gathered: list[list[Result]]) -> list[Verdict]:
    """A verdict for every claim whose rows were run; there may be none."""
    rows = {results[0].row.name: results for results in gathered if results}
    verdicts = []
    for claim in CLAIMS:
        if isinstance(claim, Claim) and claim.row in rows:
            verdicts.append(judge(claim, rows[claim.row]))
        elif isinstance(claim, Cost) and claim.row in rows and claim.base in rows:
            verdicts.append(judge_cost(claim, rows[claim.row], rows[claim.base]))
    return verdicts


def is_near(row: Row, gathered: list[list[Result]]) -> bool:
    """Whether a claim about the row is so near to what it must be that only more rounds can tell."""
    rows = {results[0].row.name: results for results in gathered if results}
    for claim in CLAIMS:
        if claim.row != row.name:
            continue
        if isinstance(claim, Claim):
            found = ratios(claim, rows[row.name])
        else:
            found = costs(rows[row.name], rows.get(claim.base, []))
        if any(ratio is not None and near(ratio, claim.must) for ratio in found):
            return True
    return False


def near(ratio: float, level: float) -> bool:
    return abs(ratio / level - 1) <= NEAR


def sides(claim: Claim, results: list[Result]) -> tuple[Result, Result | None]:
    """What is compared: ours, and the peer if it was run."""
    by_name = {result.variant.name: result for result in results}
    return by_name.get(claim.own, ours(results)), by_name.get(claim.peer)


def ratios(claim: Claim, results: list[Result]) -> tuple[float | None, float | None]:
    """How many times the peer's rate, and the same by CPU time."""
    mine, peer = sides(claim, results)
    if peer is None:
        return None, None
    own, other = mine.median("rate"), peer.median("rate")
    own_cpu, other_cpu = mine.median("cpu_us"), peer.median("cpu_us")
    return own and other and own / other, own_cpu and other_cpu and other_cpu / own_cpu


def costs(results: list[Result], base: list[Result]) -> tuple[float | None]:
    """How many times the CPU time of the other row."""
    cost, least = ours(results).median("cpu_us"), ours(base).median("cpu_us") if base else None
    return (cost and least and cost / least,)


def bound(peer: Result, results: list[Result]) -> str:
    """How many times the rate of a peer bare sockets reach, in words; nothing where there are none."""
    for result in results:
        rate, other = result.median("rate"), peer.median("rate")
        if result.variant.bare and rate and other:
            return f"; {result.variant.name}, which are no client, {rate / other:.2f}x"
    return ""


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def ours(results: list[Result]) -> Result:
    return next(result for result in results if result.variant.ours)


def reaches(rate: float, cpu: float | None, level: float) -> bool:
    """Whether a ratio of rates is at least `level`; near to it the ratio of CPU times decides."""
    if cpu is not None and near(rate, level):
        return cpu >= level
    return rate >= level


def judge(claim: Claim, results: list[Result]) -> Verdict:
    mine, peer = sides(claim, results)
    moonshot = f"{claim.moonshot:g}x" if claim.moonshot else ""

    def verdict(figure: str, word: str) -> Verdict:
        return Verdict(str(claim), f"{claim.must:g}x", moonshot, figure, word)

    own, other, unit = mine.median("rate"), peer and peer.median("rate"), mine.row.unit
    if own is None:
        return verdict(f"ours: {mine.problem}", UNKNOWN if mine.problem == "not installed" else FAILS)
    if peer is None or not other:
        # No figure, or not one answer in the time: no ratio can be claimed from it.
        why = peer.problem if peer else "not run"
        return verdict(f"{number(own)} {unit}; {claim.peer}: {why or 'no figure'}", UNKNOWN)
    rate, cpu = own / other, ratios(claim, results)[1]
    problem = f"; {claim.peer}: {peer.problem}" if peer.problem else ""
    figure = f"{rate:.2f}x ({number(own)} / {number(other)} {unit}{problem})"
    own_cpu, other_cpu = mine.median("cpu_us"), peer.median("cpu_us")
    if cpu is not None:
        figure += f"; by CPU {cpu:.2f}x ({number(own_cpu, 1)} / {number(other_cpu, 1)} us)"
    holds = reaches(rate, cpu, claim.must)
    if cpu is not None and near(rate, claim.must):
        figure += ", which decides"
    if mine.problem:
        figure += f"; ours: {mine.problem}"
        holds = False
    if claim.growth:
        grown = mine.median("grown")
        figure += f"; growth {number(grown / MIB, 1)} MiB" if grown is not None else "; growth unknown"
        holds = holds and grown is not None and grown < claim.growth
    if not holds:
        return verdict(figure + bound(peer, results), FAILS)
    return verdict(figure, REACHED if claim.moonshot and reaches(rate, cpu, claim.moonshot) else HOLDS)


def judge_cost(claim: Cost, results: list[Result], base: list[Result]) -> Verdict:
    mine, before = ours(results), ours(base)
    cost, least = mine.median("cpu_us"), before.median("cpu_us")
    if not cost or not least or mine.problem or before.problem:
        problem = mine.problem or before.problem or "no figure"
        return Verdict(str(claim), f"<= {claim.must:g}x", f"<= {claim.moonshot:g}x", problem, FAILS)
    figure = f"{cost / least:.2f}x ({number(cost, 1)} / {number(least, 1)} us)"
    return at_most(str(claim), cost / least, claim.must, claim.moonshot, "x", figure)


def at_most(
    claim: str, value: float | None, must: float, moonshot: float, unit: str, figure: str = ""
) -> Verdict:
    """A figure that has a limit of its own; None where it could not be taken."""
    limits = f"<= {must:g}{unit}", f"<= {moonshot:g}{unit}" if moonshot else ""
    if value is None:
        return Verdict(claim, *limits, figure or "no figure", UNKNOWN)
    word = FAILS if value > must else REACHED if moonshot and value <= moonshot else HOLDS
    return Verdict(claim, *limits, figure or f"{value:,.3g}{unit}", word)


check_names()
