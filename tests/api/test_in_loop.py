"""Answers of the event loop: those of a thread, byte for byte, and as much up to date. Both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from api.test_users import PASSWORD, Apps
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from ringbook.api import routes
from ringbook.api.endpoint import Answer, Route
from ringbook.config import Config, Limits
from ringbook.core import applications
from ringbook.core.sessions import TOUCH_SECONDS
from ringbook.server import front
from ringbook.store.db import Database
from ringbook.store.db.postgres import Postgres
from ringbook.store.db.sqlite import Sqlite

NOW = 1_800_000_000
ANN, BOB = "+12025550101", "+447700900123"
AGAIN = 6  # the first answers come from threads, until the loop has a connection
LONG = {"custom_data": "x" * 2000}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def apps(db: Database, clock: Clock) -> Iterator[Apps]:
    """Ann, and Bob, who holds her number; one event loop for all requests."""
    applications._cache.clear()
    app = applications.create(db, "tests", NOW)
    with TestClient(with_lifespan(front.build(Config(limits=Limits()), db, clock))) as client:
        apps = Apps(client, app, db)
        apps.sign_up("ann", phone=ANN, email="ann@example.com", **LONG)
        for login in ("bob", "+12025550142"):
            apps.sign_up(login, phone=BOB)
        book = {"contacts": [{"phone": ANN, "name": "Ann"}]}
        assert apps.asks("bob", "POST", "/address_book", json=book).status_code == 200
        apps.tokens["app"] = apps.session({})
        apps.tokens["guest"] = apps.session({"user": {"guest": "1", "full_name": "Guest"}})
        yield apps


def with_lifespan(served: ASGIApp) -> ASGIApp:
    """The application for a client that tells it of its start and end."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await served(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    return application


@pytest.fixture
def in_loop(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each statement that the loop has run."""
    run: list[int] = []
    for kind in (Sqlite, Postgres):

        async def counted(db: Any, sql: str, _query: Any = kind.query_in_loop, **params: Any) -> Any:
            if (rows := await _query(db, sql, **params)) is not None:
                run.append(len(rows))
            return rows

        monkeypatch.setattr(kind, "query_in_loop", counted)
    return run


def answers(apps: Apps) -> list[tuple[int, list[tuple[str, str]], bytes]]:
    """What is answered to all who ask for anything."""
    ids = [*apps.ids.values(), 0, 999_999, 2**40, "x"]
    paths = ["/session", "/session.json", *(f"/users/{one}" for one in ids), f"/users/{apps.ids['ann']}.json"]
    headers: list[dict[str, str]] = [{}, {"Origin": "https://app.example"}, {"QuickBlox-REST-API-Version": "0.1.0"}]
    found = []
    for path in paths:
        for who in apps.tokens:
            for more in headers:
                for method in ("GET", "HEAD"):
                    answer = apps.asks(who, method, path, headers=more)
                    found.append((answer.status_code, sorted(answer.headers.items()), answer.content))
        for token in ("", "unknown"):
            answer = apps.client.get(path, headers={"CB-Token": token})
            found.append((answer.status_code, sorted(answer.headers.items()), answer.content))
    return found


@pytest.mark.parametrize("profiles", ["known", "open"])
def test_the_loop_answers_as_a_thread_does(apps: Apps, in_loop: list[int], profiles: str):
    apps.set("profiles", profiles)
    for _ in range(AGAIN):
        apps.asks("ann", "GET", "/session")
    quick = answers(apps)
    assert in_loop
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Sqlite, Postgres):
            patch.setattr(kind, "query_in_loop", never)
        assert answers(apps) == quick
    assert {status for status, _, _ in quick} == {200, 401, 403, 404, 422}


def test_a_contact_is_shown_in_full_also_where_the_session_was_read_before_a_body(apps: Apps):
    path = f"/users/{apps.ids['ann']}"
    for _ in range(AGAIN):
        apps.asks("bob", "GET", path)
    in_parts = iter([b"{}"])  # without a length, so the body is waited for
    answer = apps.asks("bob", "GET", path, content=in_parts)
    assert answer.json() == apps.asks("bob", "GET", path).json()
    assert answer.json()["user"]["phone"] == ANN


async def never(_db: Any, _sql: str, **_params: Any) -> None:
    """Leaves everything to threads."""


def test_a_session_that_has_ended_is_refused_at_once(apps: Apps, in_loop: list[int]):
    for _ in range(AGAIN):
        assert apps.asks("ann", "GET", "/session").status_code == 200
    assert in_loop
    assert apps.asks("ann", "DELETE", "/session").status_code == 200
    assert apps.asks("ann", "GET", "/session").status_code == 401
    assert apps.asks("ann", "GET", f"/users/{apps.ids['ann']}").status_code == 401


def test_a_changed_user_is_shown_at_once(apps: Apps, in_loop: list[int]):
    path = f"/users/{apps.ids['ann']}"
    for number in range(AGAIN):
        assert apps.asks("ann", "PUT", path, json={"user": {"full_name": f"Ann {number}"}}).status_code == 200
        for who in ("ann", "bob"):
            assert apps.asks(who, "GET", path).json()["user"]["full_name"] == f"Ann {number}"
    assert in_loop


def test_the_use_of_a_session_is_stored_once_a_minute(apps: Apps, in_loop: list[int], clock: Clock):
    ends = []
    for _ in range(3):
        for _ in range(AGAIN):
            ends.append(apps.asks("ann", "GET", "/session").headers["CB-Token-ExpirationDate"])
        clock.now += TOUCH_SECONDS
    assert in_loop
    assert [ends.count(one) for one in sorted(set(ends))] == [AGAIN] * 3


def test_who_signs_out_has_no_user(apps: Apps, in_loop: list[int]):
    for _ in range(AGAIN):
        assert apps.asks("ann", "GET", "/session").json()["session"]["user"]["login"] == "ann"
    assert apps.asks("ann", "DELETE", "/login").status_code == 200
    assert "user" not in apps.asks("ann", "GET", "/session").json()["session"]
    assert apps.asks("ann", "GET", f"/users/{apps.ids['ann']}").status_code == 403
    given = {"login": "bob", "password": PASSWORD}
    assert apps.asks("ann", "POST", "/login", json=given).status_code == 202
    assert apps.asks("ann", "GET", "/session").json()["session"]["user"]["login"] == "bob"
    assert in_loop


def test_a_route_for_users_is_closed_to_a_session_without_one_also_if_the_loop_has_found_it(
    db: Database, clock: Clock, in_loop: list[int], monkeypatch: pytest.MonkeyPatch
):
    """The handler does not look for a user itself."""
    own = Route(
        method="GET",
        path="/own",
        handler=lambda _call: Answer("reached"),
        in_loop=lambda _call: None,
        shows_user=True,
    )
    monkeypatch.setattr(routes, "ROUTES", [own, *routes.ROUTES])
    app = applications.create(db, "tests", NOW)
    with TestClient(with_lifespan(front.build(Config(limits=Limits()), db, clock))) as client:
        apps = Apps(client, app, db)
        apps.tokens["app"] = apps.session({})
        assert [apps.asks("app", "GET", "/own").status_code for _ in range(AGAIN)] == [403] * AGAIN
        assert in_loop


def test_a_repeated_upload_is_answered_as_by_a_thread(apps: Apps, in_loop: list[int]):
    contacts = [{"name": f"N{number}", "phone": f"+1202555{number:04}"} for number in range(100, 200)]
    bodies: list[Any] = [{"contacts": contacts}, {"contacts": [*contacts, {"phone": "x"}], "udid": "phone"}]

    def uploaded(body: Any) -> tuple[int, Any]:
        answer = apps.asks("ann", "POST", "/address_book", json=body)
        return answer.status_code, answer.json()

    for body in bodies:
        assert uploaded(body)[1]["created"] == 100
        quick = [uploaded(body) for _ in range(AGAIN)]
        with pytest.MonkeyPatch.context() as patch:
            for kind in (Sqlite, Postgres):
                patch.setattr(kind, "query_in_loop", never)
            assert [uploaded(body)] * AGAIN == quick
    assert in_loop
    assert uploaded({"contacts": [contacts[0] | {"destroy": True}]})[1]["deleted"] == 1
    assert uploaded(bodies[0])[1]["created"] == 1
    assert apps.asks("ann", "DELETE", "/session").status_code == 200
    assert uploaded(bodies[0])[0] == 401


@pytest.mark.parametrize("name_length, in_thread", [(10, False), (255, True)])
def test_the_event_loop_hashes_no_large_body(apps: Apps, in_loop: list[int], name_length: int, in_thread: bool):
    contacts = [{"name": "n" * name_length, "phone": f"+1202555{number:04}"} for number in range(600)]
    for _ in range(AGAIN):
        assert apps.asks("ann", "POST", "/address_book", json={"contacts": contacts}).status_code == 200
    assert (in_loop == []) == in_thread
