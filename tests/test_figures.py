"""The page of figures, its pictures and README.md show what the bench measured last, and nothing else."""

import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """Imports a file of bench/."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(ROOT / "bench") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_page_of_figures_is_what_was_measured_last(bench):
    saved = bench("latest").load()
    assert (RESULTS / "figures.md").read_text("utf-8") == bench("figures").page(saved)


def test_the_pictures_show_what_was_measured_last(bench):
    for file, text in bench("figures").pictures(bench("latest").load()).items():
        assert (RESULTS / file).read_text("utf-8") == text
        ElementTree.fromstring(text)


def test_the_readme_quotes_three_lines_of_the_page_of_figures(bench):
    readme, page = (ROOT / "README.md").read_text("utf-8"), (RESULTS / "figures.md").read_text("utf-8")
    figures = bench("figures")
    quoted = readme.partition(figures.BEGIN)[2].partition(figures.END)[0].strip().splitlines()
    assert len(quoted) == 3
    assert set(quoted) <= set(page.splitlines())


def test_before_the_first_run_the_page_says_that_nothing_was_measured(bench):
    figures = bench("figures")
    assert all(figures.NOT_MEASURED in line for line in figures.three({}))
    assert "PostgreSQL: growth not measured yet." in figures.page({})


def test_a_run_that_was_stopped_goes_on_with_what_was_not_measured_today(bench, monkeypatch, tmp_path):
    latest, today = bench("latest"), time.strftime("%Y-%m-%d", time.gmtime())
    monkeypatch.setattr(latest, "FILE", tmp_path / "latest.json")
    rows = bench("musts").judged(found(bench, "sqlite", compact=6, raw=3))
    figures = {"date": today, "size": "full", "musts": latest.plain(rows)}
    latest.keep("books", "sqlite", figures)
    assert latest.of_today("books", "sqlite", "full") == rows
    assert not latest.of_today("books", "sqlite", "quick")
    assert not latest.of_today("books", "postgresql", "full")
    assert not latest.of_today("pushes", "sqlite", "full")
    latest.keep("books", "sqlite", figures | {"date": "2026-01-01"})
    assert not latest.of_today("books", "sqlite", "full")


# ── musts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def found(bench, kind: str, compact: float, raw: float):
    """A run that measured GET /session and the registered contacts."""
    rounds, musts = bench("rounds"), bench("musts")
    cases = {}
    for key, times in {"session": {"Ringbook": 1.0}, "compact": {"Ringbook": compact, "raw": raw}}.items():
        seconds = {side: [one, one, 9 * one] for side, one in times.items()}
        cases[key] = rounds.Samples(
            seconds=seconds, cpu={side: [2 * one for one in all_] for side, all_ in seconds.items()}
        )
    return musts.Found(kind, cases, anonymous=100 * 2**20, ready=[0.5, 0.6, 9])


def row(bench, found, compared: str):
    return next(row for row in bench("musts").judged(found) if compared in row.compared)


def test_a_value_is_computed_from_medians(bench):
    floor = row(bench, found(bench, "sqlite", compact=6, raw=3), "raw join")
    assert (floor.clock, floor.cpu, floor.met) == (1.5, 1.5, True)
    assert row(bench, found(bench, "sqlite", compact=6.1, raw=3), "raw join").met is False


def test_what_was_not_measured_is_missed(bench):
    peer = row(bench, found(bench, "sqlite", compact=6, raw=3), "Sydent")
    assert (peer.clock, peer.cpu, peer.met) == (None, None, False)


def test_the_wall_clock_decides_where_postgresql_does_the_work(bench):
    decided = {
        kind: row(bench, found(bench, kind, compact=6, raw=3), "raw join").decides for kind in ("sqlite", "postgresql")
    }
    assert decided == {"sqlite": "cpu", "postgresql": "clock"}


def test_a_run_that_misses_a_must_says_so_in_its_last_line_and_exits_1(bench):
    musts = bench("musts")
    rows = musts.judged(found(bench, "sqlite", compact=6, raw=3))
    said: list[str] = []
    assert musts.verdict([one for one in rows if one.met], said.append) == 0
    assert musts.verdict(rows, said.append) == 1
    assert said[0] == "All musts are met."
    assert said[1].startswith("Missed musts") and "tuned Sydent" in said[1]


def test_growth_is_the_slowest_size_beside_the_fastest(bench):
    sizes = {
        size: {key: {"clock": time, "cpu": time} for key in ("new", "diff", "compact")}
        for size, time in ((10**6, 1.0), (10**7, 0.9), (10**8, 1.125))
    }
    assert [(one.cpu, one.met, one.aim_met) for one in bench("musts").growing("sqlite", sizes)] == [
        (1.25, True, False)
    ] * 3
