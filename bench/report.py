"""Tables of the figures, for the terminal and as Markdown, and what must hold. Measures nothing."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from .rounds import Result
from .variants import MAX_CONNECTIONS, Row

MIB = 1024 * 1024
HEADS = ("variant", "rate", "CPU us", "p50 ms", "p99 ms", "growth MiB", "ours / variant")


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def ours(results: list[Result]) -> float | None:
    return next((result.median("rate") for result in results if result.variant.ours), None)


def cells(result: Result, own: float | None) -> list[str]:
    """One line of a table, in the order of HEADS; the last cell is empty where nothing went wrong."""
    rate, grown = result.median("rate"), result.median("grown")
    ratio = own / rate if own and rate else None
    return [
        result.variant.name + (" (ceiling)" if result.variant.ceiling else ""),
        number(rate),
        number(result.median("cpu_us"), 1),
        number(result.median("p50_ms"), 2),
        number(result.median("p99_ms"), 2),
        number(grown / MIB, 1) if grown is not None else "-",
        number(ratio, 2),
        result.problem,
    ]


def columns(row: Row) -> list[str]:
    heads = list(HEADS)
    heads[1] = row.unit
    heads[2] = "CPU us/MB" if row.bulk else "CPU us/req"
    return [*heads, ""]


def shown(row: Row, name: str) -> bool:
    """Bulk rows are one transfer a round: no quantiles; the others have no growth."""
    return not (name in ("p50 ms", "p99 ms") if row.bulk else name == "growth MiB")


def print_row(console: Console, row: Row, results: list[Result]) -> None:
    table = Table(title=f"{row.name} (max_connections={MAX_CONNECTIONS})", title_justify="left")
    keep = [index for index, name in enumerate(columns(row)) if shown(row, name)]
    for index in keep:
        name = columns(row)[index]
        table.add_column(name, justify="left" if index in (0, len(HEADS)) else "right", no_wrap=index == 0)
    own = ours(results)
    for result in results:
        line = cells(result, own)
        style = "bold green" if result.variant.ours else "dim" if result.variant.ceiling else None
        table.add_row(*(line[index] for index in keep), style=style)
    console.print(table)


def markdown(gathered: list[list[Result]], setting: str) -> str:
    lines = [setting, ""]
    for results in gathered:
        row = results[0].row
        keep = [index for index, name in enumerate(columns(row)) if shown(row, name)]
        lines += [f"**{row.name}** (max_connections={MAX_CONNECTIONS})", ""]
        lines.append("| " + " | ".join(columns(row)[index] for index in keep) + " |")
        lines.append("|" + "|".join("---" if index in (0, len(HEADS)) else "---:" for index in keep) + "|")
        own = ours(results)
        for result in results:
            line = cells(result, own)
            lines.append("| " + " | ".join(line[index].replace("|", "/") for index in keep) + " |")
        lines.append("")
    verdicts = acceptance(gathered)
    if verdicts:
        lines += ["**What must hold**", "", "| claim | figure | |", "|---|---|---|"]
    lines += [f"| {verdict.claim} | {verdict.figure} | {verdict.word} |" for verdict in verdicts]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Claim:
    """Ours against one peer in one row."""

    row: str
    peer: str
    ratio: float
    growth: int = 0  # bytes; 0 where memory is not part of the claim


CLAIMS = (
    Claim("GET, under httpx, asyncio, c=64", "httpx", 5),
    Claim("GET, under httpx, asyncio, c=64", "httpx-aiohttp", 1.3),
    Claim("GET, pool, asyncio, c=64", "httpcore2", 5),
    Claim("GET, pool, sync, 1 threads", "httpcore", 2),
    Claim("GET, pool, sync, 1 threads, one core", "httpcore", 2),
    Claim("download 256 MB, under httpx, asyncio", "httpx", 2, 8 * MIB),
    Claim("download 256 MB, under httpx, sync", "httpx", 2, 8 * MIB),
    Claim("GET over TLS, under httpx, asyncio, c=64", "httpx", 5),
    Claim("GET over TLS, under httpx, asyncio, c=64", "httpx-aiohttp", 1.3),
    Claim("GET over TLS, under httpx, asyncio, c=64", "httpx + httpcore_hyper, without TLS", 0.85),
    Claim("download 256 MB over TLS, under httpx, asyncio", "httpx", 1.5),
    Claim("download 256 MB over TLS, under httpx, sync", "httpx", 1.5),
    Claim("new connections over TLS, under httpx, asyncio, c=16", "httpx", 0.9),
    Claim("new connections over TLS, under httpx, asyncio, c=16", "httpx + httpcore_hyper, tls=python", 1),
    Claim("new connections over TLS, under httpx, sync, 1 threads", "httpx", 0.9),
    Claim("new connections over TLS, under httpx, sync, 1 threads", "httpx + httpcore_hyper, tls=python", 1),
    Claim("GET over HTTP/2, under httpx, asyncio, c=64", "httpx", 2.5),
    Claim("GET over HTTP/2, under httpx, asyncio, c=64", "httpx2", 2.2),
    Claim("GET over HTTP/2, under httpx, asyncio, c=64", "httpx + httpcore_hyper, HTTP/1.1", 0.8),
)


@dataclass(frozen=True)
class Verdict:
    claim: str
    figure: str
    word: str


def acceptance(gathered: list[list[Result]]) -> list[Verdict]:
    """A verdict for every claim whose row was run; there may be none."""
    rows = {results[0].row.name: results for results in gathered}
    return [judge(claim, rows[claim.row]) for claim in CLAIMS if claim.row in rows]


def judge(claim: Claim, results: list[Result]) -> Verdict:
    text = f"{claim.row}: at least {claim.ratio:g}x {claim.peer}"
    if claim.growth:
        text += f", memory growth below {claim.growth // MIB} MiB"
    mine = next(result for result in results if result.variant.ours)
    peer = next(result for result in results if result.variant.name == claim.peer)
    own, other, grown = mine.median("rate"), peer.median("rate"), mine.median("grown")
    unit = mine.row.unit
    if own is None:
        return Verdict(text, f"ours: {mine.problem}", "does not hold")
    if other is None or other <= 0:
        # No figure, or not one answer in the time: no ratio can be claimed from it.
        return Verdict(
            text, f"{number(own)} {unit}; {claim.peer}: {peer.problem or 'no figure'}", "not measured"
        )
    figure = f"{own / other:.2f}x ({number(own)} / {number(other)} {unit}"
    if peer.problem:
        figure += f"; {claim.peer}: {peer.problem}"
    figure += ")"
    own_cpu, other_cpu = mine.median("cpu_us"), peer.median("cpu_us")
    if own_cpu and other_cpu and not mine.row.bulk:
        figure += f"; CPU {number(own_cpu, 1)} / {number(other_cpu, 1)} us"
    holds = own / other >= claim.ratio and not mine.problem
    if mine.problem:
        figure += f"; ours: {mine.problem}"
    if claim.growth:
        figure += f"; growth {number(grown / MIB, 1)} MiB" if grown is not None else "; growth unknown"
        holds = holds and grown is not None and grown < claim.growth
    return Verdict(text, figure, "holds" if holds else "does not hold")


def print_acceptance(console: Console, gathered: list[list[Result]]) -> None:
    verdicts = acceptance(gathered)
    if not verdicts:
        console.print("none of the rows that were run belongs to a claim of what must hold")
        return
    table = Table(title="What must hold", title_justify="left")
    for name in ("claim", "figure", ""):
        table.add_column(name)
    styles = {"holds": "green", "does not hold": "red", "not measured": "yellow"}
    for verdict in verdicts:
        table.add_row(verdict.claim, verdict.figure, f"[{styles[verdict.word]}]{verdict.word}[/]")
    console.print(table)
