"""Fixtures of all tests: databases, open or by URL, and running servers, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import structlog
from clusters import ONLY
from hashing import make_cheap
from push.providers import Providers, providing
from servers import DATABASES, SEAL, Databases, Postgresql, Server, Stoppable, migrate, private_folder, serve, tail
from verify.gateway import Gateway, listening

from ringbook.store import db as store


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> None:
    """Passwords are hashed cheaply in this process; `forking` does the same for servers."""
    make_cheap()


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Logging is as it was: a command that a test calls in this process sets the level of its log."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """New databases of every kind: `with databases.fresh("pgbouncer") as url`."""
    with ExitStack() as stack:
        yield Databases(tmp_path_factory.mktemp("databases"), stack)


@pytest.fixture(scope="session")
def postgresql(databases: Databases) -> Postgresql:
    """The PostgreSQL server of this test process."""
    return databases.postgresql


@pytest.fixture
def stoppable() -> Iterator[Stoppable]:
    """A PostgreSQL server for one test, with the current schema."""
    with private_folder() as folder:
        made = Stoppable(folder)
        made.start()
        migrate(made.url)
        yield made
        made.stop()


@pytest.fixture(scope="session")
def push_providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    """Simulated FCM and APNs for all tests of this process; `providers` is the same for one test."""
    with providing(tmp_path_factory.mktemp("providers")) as running:
        yield running


@pytest.fixture
def providers(push_providers: Providers) -> Providers:
    """Simulated FCM and APNs without recorded requests and without special responses."""
    push_providers.forget()
    return push_providers


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A server that gives the responses that the test sets, and records the requests."""
    with listening() as running:
        yield running


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A new database with the current schema, once on SQLite and once on PostgreSQL."""
    with databases.fresh(request.param) as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[store.Database]:
    """An open new database, once on SQLite and once on PostgreSQL."""
    opened = store.connect(database_url, seal=SEAL)
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=DATABASES)
def server(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`ringbook serve`, one for all tests of a file, once on SQLite and once on PostgreSQL."""
    with (
        databases.fresh(request.param) as url,
        serve(url, tmp_path_factory.mktemp("server")) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def server_on_sqlite(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same on SQLite only, for tests of what happens before and after the database is used."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


# Files that take longest, so that at the end no process waits for another one's long file.
LONG = {
    "test_process",
    "test_courier",
    "test_backup",
    "test_browser",
    "test_broken",
    "test_joined_push",
    "test_killed_worker",
    "test_openapi",
    "test_permits_simulated",
    "test_failover",
    "test_failures",
    "test_health",
    "test_sdks",
    "test_dart",
    "test_demo",
    "test_wheel",
    "test_messages",
    "test_identity",
    "test_erasures",
}


ON_CLUSTER_SECONDS = 600  # for one test: on one machine, each statement costs a cluster several times as much


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, and give tests on a cluster more time."""
    items.sort(key=lambda item: item.path.stem not in LONG)
    for item in items:
        if ONLY or "citus" in item.name:
            item.add_marker(pytest.mark.timeout(ON_CLUSTER_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show the output of the test's server below a failed test."""
    report = yield
    for running in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(running, Server):
            report.sections.append(("ringbook serve", tail(running.log)))
    return report
