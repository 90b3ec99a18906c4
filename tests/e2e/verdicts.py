"""What the programs that drive an SDK print: a line for each failed check, and the totals.

verdict(words)    reads it
agree(…)          fails the test unless exactly the checks failed that we decided otherwise
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a kit said: how many checks passed, the names of those that did not, and every word of it."""

    passed: int
    failed: set[str]
    words: str


def verdict(words: str) -> Verdict:
    """Read what a kit prints: a line `FAIL  name  got …` per failed check, and `N passed, M failed` at its end."""
    end = re.search(r"^(\d+) passed, (\d+) failed$", words, re.MULTILINE)
    assert end, words
    names = [name.partition("  got ")[0] for name in re.findall(r"^FAIL  (.*)$", words, re.MULTILINE)]
    assert len(names) == int(end[2]), words
    return Verdict(int(end[1]), set(names), words)


def agree(found: Verdict, decided: dict[str, str], checks: int) -> None:
    """All checks ran, and exactly those failed that we decided otherwise."""
    assert found.failed == set(decided), found.words
    assert found.passed + len(found.failed) >= checks, found.words
