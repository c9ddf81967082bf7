"""Go through the rows, and in each row through the contenders; then write the table.

usage: python -m benches.peers [--row PREFIX]... [--only CONTENDER]... [--table]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benches.peers import measure, table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".bench" / "results.jsonl"

# The whole comparison is given up when one row of one contender takes longer than this.
ROW_LIMIT_S = 300

CONTENDERS = {
    "bare": (sys.executable, "benches.peers.bare"),
    "xoscar": (str(ROOT / ".bench" / "xoscar" / "bin" / "python"), "benches.peers.xoscar_peer"),
    "ray": (str(ROOT / ".bench" / "ray" / "bin" / "python"), "benches.peers.ray_peer"),
    "mosaic": (sys.executable, "benches.peers.mosaic_peer"),
}


def say_skipped(row: str, contender: str, why: str) -> None:
    """Say that a row is left out."""
    print(f"{row:24} {contender:14} left out: {why}", flush=True)


def measure_row(row: str, contender: str) -> bool:
    """Measure one row of one contender; keep and show what it says. False when it failed."""
    python, module = CONTENDERS[contender]
    if not Path(python).exists():
        say_skipped(row, contender, "`make bench-peers` could not install it")
        return True
    with RESULTS.open("a") as results:
        done = subprocess.run(
            [python, "-m", module, row],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ROW_LIMIT_S,
            check=False,
        )
        for line in done.stdout.splitlines():
            if not line.startswith("{"):
                continue
            figure = json.loads(line)
            if "skipped" in figure:
                say_skipped(figure["row"], figure["contender"], figure["skipped"])
                continue
            results.write(line + "\n")
            print(
                f"{figure['row']:24} {figure['contender']:14} {figure['median']:12.4g} "
                f"[{figure['lowest']:.4g} … {figure['highest']:.4g}] {figure['unit']}",
                flush=True,
            )
    if done.returncode:
        print(f"{row:24} {contender:14} failed ({done.returncode})\n{done.stderr}", file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benches.peers")
    parser.add_argument("--row", action="append", help="only rows whose key starts so")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="only this contender")
    parser.add_argument("--table", action="store_true", help="only write the table again")
    arguments = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    passed = True
    if not arguments.table:
        rows = ["lifecycle"] + [row.key for row in measure.ROWS if row not in measure.LIFECYCLE]
        for row in rows:
            if arguments.row and not row.startswith(tuple(arguments.row)):
                continue
            for contender in arguments.only or CONTENDERS:
                passed &= measure_row(row, contender)
    if RESULTS.exists():
        table.write(RESULTS, ROOT / "benches" / "README.md")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
