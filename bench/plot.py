"""The pictures of a run: rates, rates over concurrency, and latencies. Measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .claims import MIB
from .rounds import Result
from .variants import MAX_CONNECTIONS
from .worker import DISTRIBUTION

COLUMNS = 4
OURS, PEER, CEILING = "#2a7f62", "#8a8f98", "#d9dbdf"


def pyplot():  # type: ignore[no-untyped-def]
    import matplotlib

    matplotlib.use("Agg")  # no window, no display
    from matplotlib import pyplot

    return pyplot


def draw_all(gathered: list[list[Result]], folder: Path) -> list[Path]:
    """The pictures that this run's rows are enough for."""
    drawn = [folder / "rates.png"]
    draw(gathered, drawn[0])
    if series := over_concurrency(gathered):
        drawn.append(folder / "concurrency.png")
        draw_lines(
            series,
            drawn[-1],
            f"requests per second over requests in flight, max_connections={MAX_CONNECTIONS}",
            ("requests in flight, or threads", "req/s"),
        )
    if series := latencies(gathered):
        drawn.append(folder / "latency.png")
        draw_lines(series, drawn[-1], "latency: the share of requests that take longer", ("ms", "share"))
    return drawn


# For each panel its title, and for each line its variant, x and y.
Series = dict[str, list[tuple[Result, list[float], list[float]]]]


def over_concurrency(gathered: list[list[Result]]) -> Series:
    """Plain GETs that differ in nothing but their number at a time, where there is more than one such row."""
    kinds: dict[str, list[list[Result]]] = {}
    for results in gathered:
        row = results[0].row
        if row.work == "get" and not (row.computing or row.one_core or row.proxied or row.own_server):
            title, _, _ = row.name.rpartition(", ")
            kinds.setdefault(title, []).append(results)
    series: Series = {}
    for title, rows in kinds.items():
        lines: dict[str, tuple[Result, list[float], list[float]]] = {}
        for results in sorted(rows, key=lambda results: results[0].row.concurrency):
            for result in results:
                # A canned answer never has more than one request in flight, and bare sockets are no client.
                if (rate := result.median("rate")) and not result.variant.ceiling:
                    _, x, y = lines.setdefault(result.variant.name, (result, [], []))
                    x.append(result.row.concurrency)
                    y.append(rate)
        if len(rows) > 1:
            series[title] = list(lines.values())
    return series


def latencies(gathered: list[list[Result]]) -> Series:
    series: Series = {}
    for results in gathered:
        row = results[0].row
        if row.work != "get" or row.computing or row.one_core or row.queued or row.own_server:
            continue
        lines = []
        for result in results:
            # A round in which no request ended has none.
            rounds = [figures["distribution_ms"] for figures in result.rounds if figures["distribution_ms"]]
            if rounds and not result.variant.ceiling:
                # Of each share the median of the rounds; the largest of all has no share that is above it.
                each = zip(*rounds, strict=True)
                times = [sorted(values)[len(values) // 2] for values in each][:-1]
                lines.append((result, times, [1 - share for share in DISTRIBUTION[:-1]]))
        series[row.name] = lines
    return series


def draw_lines(series: Series, path: Path, title: str, labels: tuple[str, str]) -> None:
    """A panel for each of the series, on logarithmic scales; ours is the thick line."""
    plots = pyplot()
    wide = min(COLUMNS, len(series))
    high = -(-len(series) // wide)
    figure, axes = plots.subplots(high, wide, figsize=(5.2 * wide, 3.6 * high), squeeze=False)
    for axis in axes.flat[len(series) :]:
        axis.set_axis_off()
    for axis, (name, lines) in zip(axes.flat, series.items(), strict=False):
        for result, x, y in lines:
            own = {"color": OURS, "linewidth": 2.4, "zorder": 3} if result.variant.ours else {"linewidth": 1}
            axis.plot(x, y, label=result.variant.name, marker="o" if len(x) < 6 else "", markersize=3, **own)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(labels[0], size=8)
        axis.set_ylabel(labels[1], size=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=6)
        axis.set_title(name, size=9, loc="left")
    figure.suptitle(title, size=10)
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=110)
    plots.close(figure)


def draw_memory(curves: dict[str, list[tuple[str, list[Any]]]], path: Path) -> Path:
    """A panel for each transfer; for each client its memory, in bytes beyond the beginning, over seconds."""
    plots = pyplot()
    figure, axes = plots.subplots(1, len(curves), figsize=(5.2 * len(curves), 3.6), squeeze=False)
    for axis, (title, lines) in zip(axes.flat, curves.items(), strict=True):
        for name, samples in lines:
            axis.plot([at for at, _ in samples], [grown / MIB for _, grown in samples], label=name)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("s", size=8)
        axis.set_ylabel("MiB beyond the start", size=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7)
        axis.set_title(title, size=9, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plots.close(figure)
    return path


def draw(gathered: list[list[Result]], path: Path) -> None:
    """Medians as bars, the slowest and the fastest round as a line."""
    plots = pyplot()
    wide = min(COLUMNS, len(gathered))
    high = -(-len(gathered) // wide)
    figure, axes = plots.subplots(high, wide, figsize=(5.2 * wide, 2.9 * high), squeeze=False)
    for axis in axes.flat[len(gathered) :]:
        axis.set_axis_off()
    for axis, results in zip(axes.flat, gathered, strict=False):
        panel(axis, results)
    words = f"httpcore_hyper, max_connections={MAX_CONNECTIONS}; bars: medians, lines: all rounds"
    figure.suptitle(words, size=10)
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=110)
    plots.close(figure)


def panel(axis, results: list[Result]) -> None:  # type: ignore[no-untyped-def]
    rates = [result.median("rate") or 0.0 for result in results]
    # A ceiling is an order of magnitude above what does I/O at the pool's level; its figure tells enough.
    scale = max(
        (rate for rate, result in zip(rates, results, strict=True) if not result.variant.ceiling), default=0
    )
    scale = scale or max(rates, default=0) or 1
    for index, (rate, result) in enumerate(zip(rates, results, strict=True)):
        kind = result.variant
        axis.barh(
            index, min(rate, scale * 1.25), color=OURS if kind.ours else CEILING if kind.ceiling else PEER
        )
        if (spread := result.spread()) and rate <= scale:
            axis.plot(spread, (index, index), color="black", linewidth=1)
        label = f"{rate:,.0f}" if result.rounds else result.problem[:24]
        axis.annotate(
            label, (min(rate, scale * 1.25), index), (4, 0), textcoords="offset points", va="center", size=8
        )
    axis.set_yticks(range(len(results)), [result.variant.name for result in results], size=8)
    axis.invert_yaxis()
    axis.set_xlim(0, scale * 1.5)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(f"{results[0].row.name} [{results[0].row.unit}]", size=9, loc="left")
