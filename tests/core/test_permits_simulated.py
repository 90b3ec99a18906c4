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


@pytest.mark.parametrize("members", [1_000, 400_000, 10_000_000])
def test_a_48_that_makes_accounts_freely_needs_5_days_and_raises_an_alarm(simulation, members):
    days, alarm = simulation.network(members)
    assert days.held and alarm.held, (days, alarm)


def test_accounts_that_an_attacker_makes_do_not_raise_the_ceiling(simulation, monkeypatch):
    monkeypatch.setattr(simulation, "SIGN_UPS", 1_100)
    same, alarm = simulation.raised()
    assert same.held and alarm.held, (same, alarm)


def test_strangers_refuse_no_small_book_of_a_verified_number_and_no_change_of_an_account(simulation):
    figures = simulation.starved()
    assert all(figure.held for figure in figures), figures


@pytest.mark.parametrize("place", range(6))
def test_each_row_of_the_table_in_privacy_md_is_what_the_simulation_finds(simulation, place):
    """`make docs` writes it."""
    table = PAGE.read_text("utf-8").split(simulation.BEGIN)[1].split(simulation.END)[0].strip().splitlines()
    rows = simulation.rows()
    assert (len(table), "\n".join(table[:2])) == (len(rows) + 2, simulation.HEAD)
    assert rows[place]() == table[place + 2]
