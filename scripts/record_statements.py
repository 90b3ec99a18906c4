"""Record the statements of this code, so that the next version can be tested with them.

    python scripts/record_statements.py        before a revision is added; writes tests/store/statements/REVISION.json

While processes are upgraded one after the other, old code runs on a new schema. This script records every statement
that the tests of `core/` and `store/` run on SQLite, transaction by transaction, and keeps the fewest tests that
together contain each statement. tests/store/test_upgrades.py replays them on the current schema, on both databases.
"""

import base64
import json
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ringbook.store.db import Rows, sqlite
from ringbook.store.migrations import HEAD

ROOT = Path(__file__).parent.parent
FILE = ROOT / "tests" / "store" / "statements" / f"{HEAD}.json"
WITHOUT_STATEMENT = ("next_id", "next_ids", "reserve_ids")
RECORDED = ("all", "one", "tuples", "run", *WITHOUT_STATEMENT)
LARGEST_TAPE = 40_000  # characters; a statement that needs more is only prepared
# Of applications that lived for a test: what looks like a secret has no place in a repository, and settings are long.
KEYS = ("auth_key", "auth_secret", "hash_key", "vapid_public_key", "vapid_private_key", "password_hash", "settings")


class Recorder:
    """Records one tape for each test: its committed transactions, each a list of calls with their results."""

    def __init__(self) -> None:
        self.tapes: dict[str, list[Any]] = {}
        self.unfit: set[str] = set()
        self._test = ""
        self._thread = 0
        self._inside = threading.local()
        self._keys: dict[Any, str] = {}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._test, self._thread = item.nodeid, 0
        self.tapes[self._test] = []

    def call(self, name: str, original: Any) -> Any:
        def recorded(tx: Any, *given: Any, **params: Any) -> Any:
            if getattr(self._inside, "deep", False):
                return original(tx, *given, **params)
            self._inside.deep = True
            try:
                answer = original(tx, *given, **params)
            finally:
                self._inside.deep = False
            caller = sys._getframe(1).f_globals["__name__"]
            if not caller.startswith("ringbook.") or self._thread not in (0, threading.get_ident()):
                self.unfit.add(self._test)  # it has statements of its own, or their order is not told
            self._thread = threading.get_ident()
            count = answer if isinstance(answer, int) else None if answer is None else len(answer)
            count = int(answer is not None) if name == "one" else count
            step = {"call": name, "given": list(given), "params": {k: self.shown(k, v) for k, v in params.items()}}
            getattr(self._inside, "steps", []).append(step | {"count": count})
            return answer

        return recorded

    def shown(self, name: str, value: Any) -> Any:
        """A parameter for the file; a key is replaced by a word."""
        if name not in KEYS or value is None:
            return written(value)
        word = self._keys.setdefault(value, f"{name} {len(self._keys)}")
        return written(word.encode() if isinstance(value, bytes) else word)

    def transaction(self, original: Any) -> Any:
        @contextmanager
        def recorded(db: Any) -> Any:
            self._inside.steps = steps = []
            with original(db) as tx:
                yield tx
            self.tapes.setdefault(self._test, []).append(steps)

        return recorded


def written(value: Any) -> Any:
    """A parameter as JSON."""
    if isinstance(value, Rows):
        kinds = {name: kind.__name__ for name, kind in value.columns.items()}
        return {"columns": kinds, "rows": [list(row) for row in value.rows]}
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def asked(tape: list[Any]) -> set[str]:
    """The statements of a tape."""
    return {step["given"][0] for steps in tape for step in steps if step["call"] not in WITHOUT_STATEMENT}


def fewest(tapes: dict[str, list[Any]]) -> list[str]:
    """Tests that together run every statement; small tests are preferred."""
    missing = set().union(*map(asked, tapes.values()))
    chosen = []
    while missing:
        best = max(tapes, key=lambda name: len(asked(tapes[name]) & missing) / len(json.dumps(tapes[name])))
        missing -= asked(tapes[best])
        chosen.append(best)
    return chosen


def text(tapes: dict[str, list[Any]], others: dict[str, Any]) -> str:
    """The file: each statement once, and tapes that name statements by their position. A tape is a line."""
    statements = sorted(set().union(*map(asked, tapes.values())))
    place = {statement: number for number, statement in enumerate(statements)}
    for steps in (steps for tape in tapes.values() for steps in tape):
        for step in steps:
            step["given"] = [place.get(word, word) for word in step["given"]]
    parts = {
        "statements": "[\n" + ",\n".join(map(compact, statements)) + "\n]",
        "tapes": by_line(tapes),
        "others": by_line(others),
    }
    return "{\n" + ",\n".join(f"{compact(name)}: {part}" for name, part in parts.items()) + "\n}\n"


def by_line(values: dict[str, Any]) -> str:
    """A JSON object with one line for each key."""
    return "{\n" + ",\n".join(f"{compact(name)}: {compact(value)}" for name, value in values.items()) + "\n}"


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    """Run the tests, and write the needed tapes."""
    recorder = Recorder()
    for name in RECORDED:
        setattr(sqlite.SqliteTx, name, recorder.call(name, getattr(sqlite.SqliteTx, name)))
    for name in ("read", "write"):
        setattr(sqlite.Sqlite, name, recorder.transaction(getattr(sqlite.Sqlite, name)))
    folders = [str(ROOT / "tests" / name) for name in ("store", "core")]
    pytest.main(["-q", "-k", "sqlite", "-p", "no:cacheprovider", *folders], plugins=[recorder])
    everything = {name: tape for name, tape in recorder.tapes.items() if tape}
    fit = {
        name: tape
        for name, tape in everything.items()
        if name not in recorder.unfit and len(json.dumps(tape)) <= LARGEST_TAPE
    }
    chosen = fewest(fit)
    covered = set().union(*(asked(fit[name]) for name in chosen))
    ours = {
        step["given"][0]: step["params"]
        for name, tape in everything.items()
        for steps in tape
        for step in steps
        if name not in recorder.unfit and asked([[step]]) - covered
    }
    FILE.write_text(text({name: fit[name] for name in chosen}, ours))
    print(f"{len(covered)} statements in {len(chosen)} tests, {len(ours)} only prepared: {FILE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
