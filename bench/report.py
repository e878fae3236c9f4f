"""Tables of figures and of what must hold, for the terminal and as Markdown. Measures and judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .claims import FAILS, HOLDS, MIB, REACHED, UNKNOWN, Verdict, number
from .rounds import Result
from .variants import MAX_CONNECTIONS, Row

HEADS = (
    *("variant", "rate", "CPU us", "kernel us", "p50 ms", "p99 ms", "p99.9 ms"),
    *("growth MiB", "ours / variant"),
)
STYLES = {HOLDS: "green", REACHED: "bold green", FAILS: "red", UNKNOWN: "yellow"}


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
        number(result.median("kernel_us"), 1),
        number(result.median("p50_ms"), 2),
        number(result.median("p99_ms"), 2),
        number(result.median("p999_ms"), 2),
        number(grown / MIB, 1) if grown is not None else "-",
        number(ratio, 2),
        result.problem,
    ]


def columns(row: Row) -> list[str]:
    heads = list(HEADS)
    heads[1] = row.unit
    unit = "MB" if row.bulk else "req"
    heads[2], heads[3] = f"CPU us/{unit}", f"kernel us/{unit}"
    return [*heads, ""]


def shown(row: Row, name: str) -> bool:
    """Bulk rows are one transfer a round: no quantiles; the others have no growth."""
    return not (name.startswith("p") if row.bulk else name == "growth MiB")


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


def print_table(console: Console, title: str, heads: Sequence[str], lines: list[list[str]]) -> None:
    """Any other table. Figures are to the right; they have a slash in their heads, as a unit has."""
    table = Table(title=title, title_justify="left")
    for name in heads:
        table.add_column(name, justify="right" if "/" in name else "left")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def table_markdown(title: str, heads: Sequence[str], lines: list[list[str]]) -> list[str]:
    if not lines:
        return []
    rule = "|" + "|".join("---:" if "/" in name else "---" for name in heads) + "|"
    cells_of_lines = ("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
    return [f"**{title}**", "", "| " + " | ".join(heads) + " |", rule, *cells_of_lines, ""]


def markdown(gathered: list[list[Result]], verdicts: list[Verdict], setting: str, more: list[str]) -> str:
    """`more` are the lines of further tables."""
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
    return "\n".join([*lines, *more, *verdicts_markdown(verdicts)]) + "\n"


def verdicts_markdown(verdicts: list[Verdict]) -> list[str]:
    if not verdicts:
        return []
    lines = ["**What must hold**", "", "| claim | must | moonshot | figure | |", "|---|---:|---:|---|---|"]
    for verdict in verdicts:
        line = (verdict.claim, verdict.must, verdict.moonshot, verdict.figure, verdict.word)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |")
    return lines


def print_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    if not verdicts:
        console.print("none of the rows that were run belongs to a claim of what must hold")
        return
    table = Table(title="What must hold", title_justify="left")
    for name in ("claim", "must", "moonshot", "figure", ""):
        table.add_column(name, justify="right" if name in ("must", "moonshot") else "left")
    for verdict in verdicts:
        word = f"[{STYLES[verdict.word]}]{verdict.word}[/]"
        table.add_row(verdict.claim, verdict.must, verdict.moonshot, verdict.figure, word)
    console.print(table)
    counts = (f"{sum(verdict.word == word for verdict in verdicts)} {word}" for word in STYLES)
    console.print("; ".join(counts))
