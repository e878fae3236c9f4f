"""The picture of a run: requests per second, a panel for each row. Measures nothing."""

from __future__ import annotations

from pathlib import Path

from .rounds import Result
from .variants import MAX_CONNECTIONS

COLUMNS = 4
OURS, PEER, CEILING = "#2a7f62", "#8a8f98", "#d9dbdf"


def draw(gathered: list[list[Result]], path: Path) -> None:
    """Medians as bars, the slowest and the fastest round as a line."""
    import matplotlib

    matplotlib.use("Agg")  # no window, no display
    from matplotlib import pyplot

    wide = min(COLUMNS, len(gathered))
    high = -(-len(gathered) // wide)
    figure, axes = pyplot.subplots(high, wide, figsize=(5.2 * wide, 2.9 * high), squeeze=False)
    for axis in axes.flat[len(gathered) :]:
        axis.set_axis_off()
    for axis, results in zip(axes.flat, gathered, strict=False):
        panel(axis, results)
    figure.suptitle(f"httpcore_hyper, max_connections={MAX_CONNECTIONS}; bars: medians, lines: all rounds")
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


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
