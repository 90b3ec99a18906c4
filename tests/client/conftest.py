"""What the client's tests share: one server. The client speaks HTTP only, so one database is enough."""

from collections.abc import Iterator

import pytest
from servers import Databases, Server, serve


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`ringbook serve`, one for all tests of a file."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running
