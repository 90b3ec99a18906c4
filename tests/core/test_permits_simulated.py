"""How long reading out the user base takes: the simulation of bench/attack with the real limits, and its table."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "privacy.md"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    folders = [str(ROOT / "bench" / "attack"), str(ROOT / "bench")]
    sys.path[:0] = folders
    try:
        return import_module("permits")
    finally:
        for folder in folders:
            sys.path.remove(folder)


def test_five_verified_numbers_that_delete_and_return_need_37_years_for_10_million_numbers(simulation):
    (years,) = simulation.five_numbers()
    assert years.held, years


@pytest.mark.parametrize("members, new", [(1_000, 0), (400_000, 0), (10_000_000, 0), (100_000, 100_000)])
def test_a_48_that_makes_accounts_freely_needs_5_days_and_raises_an_alarm(simulation, members, new):
    days, alarm = simulation.network(members, new)
    assert days.held and alarm.held, (days, alarm)


@pytest.mark.parametrize("place", range(6))
def test_each_row_of_the_table_in_privacy_md_is_what_the_simulation_finds(simulation, place):
    """`make docs` writes it."""
    table = PAGE.read_text("utf-8").split(simulation.BEGIN)[1].split(simulation.END)[0].strip().splitlines()
    rows = simulation.rows()
    assert (len(table), "\n".join(table[:2])) == (len(rows) + 2, simulation.HEAD)
    assert rows[place]() == table[place + 2]
