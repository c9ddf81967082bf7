"""Write the table of `benches/README.md` between its two marker comments, from the results.

The latest figure of a contender in a row counts. A ratio above 1 means that mosaic is better.
"""

from __future__ import annotations

import json
from pathlib import Path

from benches.peers.measure import ROWS, Row

COLUMNS = ("asyncio-echo", "blocking-echo", "numpy", "xoscar", "ray", "mosaic")

# Figures of one row further apart than this were not made in one run, and get no ratio.
SAME_RUN_S = 1800


def write(results: Path, readme: Path) -> None:
    """Write the table from the results."""
    replace(readme, "peers", render(results))


def replace(readme: Path, name: str, table: str) -> None:
    """Replace what stands between the markers of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = readme.read_text()
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    readme.write_text(f"{head}{begin}\n{table}{end}{tail}")


def render(results: Path) -> str:
    """Return the table as Markdown."""
    figures: dict[tuple[str, str], dict] = {}
    for line in results.read_text().splitlines():
        figure = json.loads(line)
        figures[figure["row"], figure["contender"]] = figure
    heads = [f"{name} {version(figures, name)}".strip() for name in COLUMNS]
    lines = [
        f"| | unit | {' | '.join(heads)} | mosaic to xoscar | mosaic to Ray | mosaic to bare |",
        "|---|---|" + "---:|" * (len(COLUMNS) + 3),
    ]
    for row in ROWS:
        found = {name: figures.get((row.key, name)) for name in COLUMNS}
        cells = [number(figure["median"]) if figure else "–" for figure in found.values()]
        # An echo knows one way to wait for many answers: it stands beside both of mosaic's.
        twin = figures.get((row.key.replace("_own", "_asyncio"), "asyncio-echo"))
        # What moves through memory cannot be faster than memory: that is bare, then, and not a socket.
        bare = found["numpy"] or twin or found["blocking-echo"]
        others = found["xoscar"], found["ray"], bare
        ratios = [ratio(row, found["mosaic"], other) for other in others]
        lines.append(f"| {row.title} | {row.unit} | {' | '.join([*cells, *ratios])} |")
    return "\n".join(lines) + "\n"


def version(figures: dict[tuple[str, str], dict], contender: str) -> str:
    """Return the version that was measured."""
    return next((f["version"] for (_, name), f in figures.items() if name == contender), "")


def ratio(row: Row, ours: dict | None, theirs: dict | None) -> str:
    """Say how many times better ours is, if both were made in one run."""
    if not ours or not theirs or abs(ours["time"] - theirs["time"]) > SAME_RUN_S:
        return "–"
    better, worse = ours["median"], theirs["median"]
    if not row.more_is_better:
        better, worse = worse, better
    return f"{number(better / worse)} ×" if worse else "–"


def number(value: float) -> str:
    """Write three digits, with separators between thousands."""
    if value >= 1000:
        digits = len(str(int(value))) - 3
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.3g}"
