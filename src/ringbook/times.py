"""How we write a time, for people and programs; how apps spell one is `api/wire.py`'s business.

iso(seconds)    UTC seconds since 1970 → `2026-11-24T19:23:14Z`
"""

from datetime import UTC, datetime


def iso(seconds: int) -> str:
    """ISO 8601, to the second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
