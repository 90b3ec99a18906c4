"""What the dashboard's tests share: one server on each database. Each test works in an application of its own."""

from collections.abc import Iterator

import pytest
from dashboard.browsing import browser
from playwright.sync_api import Browser
from servers import DATABASES, Databases, Server, serve


@pytest.fixture(scope="session", params=DATABASES)
def server(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`ringbook serve`, one for all files of this folder, once on SQLite and once on PostgreSQL."""
    with databases.fresh(request.param) as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. No longer than for one file: while it runs, nothing else may have an event loop in this thread."""
    with browser() as running:
        yield running
