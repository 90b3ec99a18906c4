"""What the dashboard's tests share: one server on each database. Each test works in an application of its own."""

from collections.abc import Iterator

import pytest
from servers import DATABASES, Databases, Server, serve


@pytest.fixture(scope="session", params=DATABASES)
def server(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`ringbook serve`, one for all files of this folder, once on SQLite and once on PostgreSQL."""
    with databases.fresh(request.param) as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running
