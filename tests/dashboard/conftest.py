"""Fixtures of the dashboard's tests: one server on each database. Each test uses its own application."""

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
    """A browser, for one file only: while it runs, nothing else may have an event loop in this thread."""
    with browser() as running:
        yield running
