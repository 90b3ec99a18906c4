"""Times as Ringbook writes them for people and programs; `api/wire.py` holds the formats that apps use.

MINUTE, HOUR, DAY    in seconds
iso(seconds)         UTC seconds since 1970 → `2026-11-24T19:23:14Z`
"""

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def iso(seconds: int) -> str:
    """ISO 8601, to the second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
