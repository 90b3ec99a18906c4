"""Counts are in the database after processes have ended normally, and contain no data of requests."""

import threading
import time
from contextlib import closing
from itertools import count

import pytest
from asking import ask, person
from servers import SEAL, application, eventually, serve

from ringbook import errors
from ringbook.api import routes
from ringbook.core import stats
from ringbook.exchange import statuses
from ringbook.store import db as store_db
from ringbook.store import stats as store
from ringbook.worker import counters

MARK = "zz-annie-zz"
NUMBER = "+12025550142"


def totals(url: str, app_id: int) -> dict[str, int]:
    with closing(store_db.connect(url, seal=SEAL)) as db, db.read() as tx:
        return store.totals(tx, app_id)


@pytest.mark.parametrize("kind, options", [("sqlite", ()), ("postgresql", ("--workers", "2"))])
def test_an_orderly_end_loses_no_figure(databases, tmp_path, kind, options):
    with databases.fresh(kind) as url:
        with serve(url, tmp_path, *options) as server:
            for _ in range(8):
                ann = person(server)
                ann.ask("POST", "/address_book", {"contacts": [{"name": MARK, "phone": NUMBER}]})
                ann.ask("GET", "/address_book/registered_users")
        found = totals(url, server.app.application_id)
        assert (found["sign-ups"], found["uploads"]) == (8, 8)
        assert found["sessions"] >= 8
        assert "process died" not in server.printed


def test_no_refusal_keeps_what_was_sent(databases, tmp_path):
    """Calls every route with words and numbers in every place that is read; none of them may be stored."""
    names = ["login", "email", "phone", "sort_asc", "order", "udid", "limit", "page", "custom", MARK, "filter[]"]
    with databases.fresh("sqlite") as url:
        with serve(url, tmp_path) as server:
            ann = person(server)
            for route in routes.ROUTES:
                path = route.path.replace("{id}", "1")
                query = "&".join(f"{name}={MARK}" for name in names) + f"&filter[]=string+{MARK}+eq+{NUMBER}"
                body = {name: {MARK: f"{MARK} {NUMBER}"} for name in [*names, "user", "contacts", "event", "provider"]}
                for headers in ({}, {"CB-Token": ann.token}, {"CB-AuthKey": MARK}):
                    if route.method == "DELETE" and headers:
                        continue
                    ask(server, route.method, f"{path}?{query}", headers=headers)
                    ask(server, route.method, path, body, headers=headers)
                    ask(server, route.method, path, body=f'{{"{MARK}{NUMBER}'.encode(), headers=headers)
            for query in (f"login=annie&sort_asc={MARK}", f"login[{MARK}]=annie", f"{MARK}=1", f"id[gt]={MARK}"):
                ann.ask("GET", f"/users/v2?{query}")
            for query in (
                f"filter[]=string+{MARK}+eq+x",
                f"filter[]=string+login+{MARK}+x",
                f"order=asc+string+{MARK}",
            ):
                ann.ask("GET", f"/users?{query}")
        with closing(store_db.connect(url, seal=SEAL)) as db, db.read() as tx:
            rows = tx.all("SELECT app_id, request, cause, reason, count FROM refusals")
    assert len(rows) > 30 and {row["app_id"] for row in rows} == {0, server.app.application_id}
    assert {statuses.status_of(errors.by_cause(row["cause"]), statuses.API) for row in rows} >= {400, 401, 404, 422}
    for row in rows:
        assert MARK not in row["reason"] and "2025550142" not in row["reason"], row


def test_a_database_that_is_away_at_the_end_keeps_nobody(monkeypatch):
    asked = count()

    class Away:
        def write(self):
            next(asked)
            raise errors.Unavailable("away")

    stats.forget()
    stats.add(1, "uploads", int(time.time()))
    counters.begin(Away())
    before = threading.active_count()
    counters.end()
    assert next(asked) == 1 and threading.active_count() == before - 1
    stats.forget()


def test_figures_are_flushed_again_and_again_while_a_process_runs(databases):
    stats.forget()
    with databases.fresh("sqlite") as url, closing(store_db.connect(url, seal=SEAL)) as db:
        app_id = application(url).application_id
        counters.begin(db, every=0.05)
        try:
            for wanted in (1, 2):
                stats.add(app_id, "uploads", int(time.time()))
                eventually(lambda wanted=wanted: totals(url, app_id).get("uploads") == wanted, "nothing was flushed")
        finally:
            counters.end()
