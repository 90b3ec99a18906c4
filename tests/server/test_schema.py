"""`ringbook serve` migrates a SQLite database in a child process, which returns its result as values."""

import sys
from pathlib import Path

import pytest
from servers import KEY
from store.older import next_version
from structlog.testing import capture_logs

from ringbook.server import schema
from ringbook.server.sockets import CannotServe
from ringbook.store import db as databases
from ringbook.store import migrations


def test_a_new_database_gets_the_schema_and_no_copy_is_made(tmp_path):
    url = f"sqlite:///{tmp_path}/ringbook.db"
    databases.create(url)
    with capture_logs() as logged:
        schema.migrate(url, KEY)
    assert [(one["event"], one["before"], one["schema"], one["copy"]) for one in logged] == [
        ("migrated", None, migrations.HEAD, None)
    ]
    assert migrations.migrate(url) == migrations.HEAD


def test_the_answer_names_the_revision_before_and_the_copy(tmp_path, tmp_path_factory, monkeypatch):
    file = tmp_path / "ringbook.db"
    url = f"sqlite:///{file}"
    migrations.migrate(url)
    before = migrations.HEAD
    next_version(monkeypatch, tmp_path_factory.mktemp("next"))
    answer = schema._answer_of_child(url, KEY)
    assert answer == schema.Answer(before=before, copy=f"{file}.before-{migrations.HEAD}")
    assert Path(answer.copy).exists()


def test_the_trouble_of_the_child_ends_the_start_in_its_words(tmp_path):
    file = tmp_path / "ringbook.db"
    file.write_text("Dear Ann, " * 1_000)
    with pytest.raises(CannotServe) as refused:
        schema.migrate(f"sqlite:///{file}", KEY)
    assert str(refused.value).startswith(f"cannot migrate: {file} is not a SQLite database")


def test_a_child_that_ends_without_an_answer_is_named_with_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "CHILD", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(CannotServe, match="exit code 3"):
        schema.migrate(f"sqlite:///{tmp_path}/ringbook.db", KEY)
