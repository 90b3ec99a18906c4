"""The latest figures, in results/latest.json: what `figures.py` shows.

load()                      everything, by part: books, joined, growth, and then by database
keep(part, kind, figures)   replace one part of one database
rows_of(saved)              the rows of musts in it
of_today(part, kind, size)  the rows of a part that was measured today
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musts import Row

FILE = Path(__file__).with_name("results") / "latest.json"


def load() -> dict[str, dict[str, Any]]:
    """All figures; nothing before the first run."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def keep(part: str, kind: str, figures: Mapping[str, Any]) -> None:
    """Replace the figures of a part; those of other parts stay as they are."""
    everything = load()
    everything.setdefault(part, {})[kind] = figures
    new = FILE.with_suffix(".new")  # so that a run that is killed leaves the former file whole
    new.write_text(json.dumps(rounded(everything), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    new.replace(FILE)


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows for the file."""
    return [dataclasses.asdict(row) for row in rows]


def rows_of(figures: Mapping[str, Any]) -> list[Row]:
    """The rows of musts of a part."""
    return [Row(**row) for row in figures["musts"]]


def of_today(part: str, kind: str, size: str) -> list[Row]:
    """The rows of a part of one database; none if no run of this size has measured it today (UTC)."""
    found = load().get(part, {}).get(kind, {})
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return rows_of(found) if found and (found["date"], found.get("size")) == (today, size) else []


def rounded(value: Any) -> Any:
    """Four digits are enough, and a diff of the file stays readable."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
