"""The primary of two PostgreSQL servers dies, the standby is promoted, and Ringbook continues automatically."""

import time
from collections.abc import Iterator

import pytest
from asking import Person, ask, line, person
from crowd import crowd
from servers import Pair, eventually, private_folder, ringbook, serve

from ringbook.store import db as databases

AWAY = "503 The database cannot be reached just now. Try again."
FIRST_SUCCESS_SECONDS = 5  # after the promotion, as the documentation promises


@pytest.fixture
def pair() -> Iterator[Pair]:
    with private_folder() as folder:
        made = Pair(folder)
        yield made
        made.stop()


@pytest.mark.parametrize("processes", [1, 2])
def test_after_a_promotion_requests_succeed_within_5_seconds_and_nothing_is_lost(pair, tmp_path, processes):
    with serve(pair.url, tmp_path, "--workers", str(processes)) as server:
        with crowd(server, 4) as people:
            pair.primary.kill()
            people.sees(AWAY)
            assert ask(server, "GET", "/readyz").status == 503
            assert ask(server, "GET", "/healthz").status == 200
            promoted = pair.promote()
            people.goes_on(1)
            first = time.monotonic() - promoted
            people.goes_on()
            eventually(lambda: ask(server, "GET", "/readyz").status == 200, "it is never ready again")
        assert first < FIRST_SUCCESS_SECONDS
        assert people.counted().lost == 0, people.told
        assert people.answered > 40
        assert people.meanwhile.keys() == {AWAY}
        assert "Traceback" not in server.printed
        assert databases.named(pair.url) in server.printed


def test_commands_and_a_new_start_find_the_new_primary(pair, tmp_path):
    with serve(pair.url, tmp_path) as server:
        who = person(server)
        assert who.upload([line(1)]).status == 200
    pair.primary.kill()
    pair.promote()
    assert "revision" in ringbook("check", database_url=pair.url).stdout
    assert "schema" in ringbook("migrate", database_url=pair.url).stdout
    with serve(pair.url, tmp_path) as server:
        assert Person(server, who.app, who.id, who.token).book() == [(line(1)["phone"], "x")]
        assert person(server).upload([line(2)]).status == 200


def test_the_first_host_may_be_the_standby(pair, tmp_path):
    turned = f"postgresql://postgres@127.0.0.1:{pair.standby.port},127.0.0.1:{pair.primary.port}/postgres"
    with serve(turned, tmp_path) as server:
        assert person(server).upload([line(1)]).status == 200
        assert ask(server, "GET", "/readyz").status == 200
