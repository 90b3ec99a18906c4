"""The exchanges of tests/wire/ for a client: requests with values filled in, and sample answers.

exchange(file, at)      the request and the answer of one exchange
refusals()              every documented refusal
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ringbook_client.wire import Answer

FILES = Path(__file__).parent.parent / "wire"
KNOWN = {
    **{"app.id": 1, "app.auth_key": "KEY", "app.token": "app-token", "code": "123456", "request": "3df6", "first": 50},
    **{f"{name}.{what}": value for name in ("ann", "bob", "eve") for what, value in (("id", 271), ("token", "token"))},
    **{"ann": 271, "john": 271, "olof": 271, "ann.session": 111},
}
SAMPLES = {
    **{"any": ["anything"], "text": "why", "int": 7, "id": 271, "token": "83153a14fb2df777c2f866178902a4bb15000001"},
    **{"date": "2018-12-05T11:58:02Z", "expiration": "2021-06-04 12:10:53 UTC"},
}

OTHERS = {
    "errors": ["why"],
    "id": 271,
    "user_id": 271,
    "application_id": 1,
    "token": "83153a14fb2df777c2f866178902a4bb15000001",
}


def exchange(file: str, at: int) -> tuple[dict[str, Any], Answer]:
    """The request and the answer of one exchange."""
    described = json.loads((FILES / f"{file}.json").read_text("utf-8"))["exchanges"][at]
    return filled(described["request"]), answer(described["answer"])


def answer(described: dict[str, Any]) -> Answer:
    """A sample answer that matches a description."""
    headers = {name.lower(): str(sample(value)) for name, value in described.get("headers", {}).items()}
    body = json.dumps(sample(described["json"])) if "json" in described else described.get("body", "")
    return Answer(described["status"], headers, body.encode())


def refusals() -> Iterator[tuple[str, Answer]]:
    """Every documented refusal, with the name of its file."""
    for file in sorted(FILES.glob("*.json")):
        for described in json.loads(file.read_text("utf-8"))["exchanges"]:
            if described["answer"]["status"] >= 400:
                yield file.stem, answer(described["answer"])


def filled(value: Any) -> Any:
    """The value with each `${…}` replaced by its value in `KNOWN`, at any depth."""
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\$\{([\w.]+)\}", value):
        return KNOWN[whole[1]]
    return re.sub(r"\$\{([\w.]+)\}", lambda found: str(KNOWN[found[1]]), value)


def sample(value: Any) -> Any:
    """The value with each placeholder replaced by a sample that matches it."""
    if isinstance(value, dict):
        others = OTHERS if "<others>" in value else {}
        return others | {key: sample(item) for key, item in value.items() if key != "<others>"}
    if isinstance(value, list):
        return [sample(item) for item in value]
    if isinstance(value, str) and (found := re.fullmatch(r"<(\w+)(?: as \w+)?>", value)):
        return SAMPLES[found[1]]
    return KNOWN.get(value[2:-1], 0) if isinstance(value, str) and value.startswith("${") else value
