"""What breaks while people use it, and what that costs: nothing that was answered with success, and an answer that is
documented (docs/operations.md, "When something breaks"). `bench/breaking.py` does the same for longer.
"""

import sys
from pathlib import Path

import broken
import pytest
from broken import AWAY, BUSY, NO_TURN, SESSION_GONE
from crowd import NO_ANSWER, Crowd
from servers import Databases


def costs_nothing(people: Crowd, *meanwhile: str) -> None:
    """Nothing was lost, and people got nothing else than this instead of a success."""
    print(people.told)
    assert people.lost == 0
    assert {what for what, count in people.meanwhile.items() if count} <= set(meanwhile)


def test_kill_9_of_serving_processes_costs_only_what_was_in_flight(databases: Databases, tmp_path: Path):
    costs_nothing(broken.serving_processes(databases, tmp_path, 1), NO_ANSWER)


def test_kill_9_of_postgresql_costs_nothing_that_was_answered(stoppable, tmp_path: Path):
    costs_nothing(broken.postgresql(stoppable, tmp_path, 1), AWAY)


def test_kill_9_of_the_worker_costs_no_push_while_people_upload(databases: Databases, tmp_path: Path):
    """What was acknowledged and recorded is not sent again, says tests/worker/test_killed_worker.py."""
    people, told = broken.worker(databases, tmp_path, 2)
    costs_nothing(people)
    assert len(told) == 3 and set(told.values()) == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="disks are mounted, and other processes limited, on Linux only")
def test_a_full_disk_costs_nothing_that_was_answered(databases: Databases, tmp_path: Path):
    costs_nothing(broken.disk(databases, tmp_path, 1), AWAY)


def test_a_slow_provider_keeps_nobody_waiting_and_loses_no_push(databases: Databases, tmp_path: Path):
    people, sent = broken.provider(databases, tmp_path, 60)
    costs_nothing(people)
    assert len(sent) == 60 and set(sent.values()) == {1}


def test_a_clock_that_jumps_ends_sessions_and_nothing_else(databases: Databases, tmp_path: Path):
    people = broken.jumping(databases, tmp_path, ("+3h", "-3h", "+2d", "+0"))
    costs_nothing(people, SESSION_GONE)
    assert people.meanwhile[SESSION_GONE] >= 4


def test_a_thousand_clients_at_once_are_all_answered(databases: Databases, tmp_path: Path):
    promised, lost, meanwhile = broken.thousand(databases, tmp_path, "sqlite")
    assert (promised, lost) == (2_000, 0)
    assert set(meanwhile) <= {BUSY, AWAY, NO_TURN}
