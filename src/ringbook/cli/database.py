"""`ringbook migrate` and `ringbook vacuum`: upgrade the schema, rewrite a SQLite file."""

from contextlib import closing

from .. import terminal
from . import common
from .common import File, Json, WrongUse


def migrate(*, file: File) -> None:
    """Upgrade the database to the schema that this version needs."""
    from ..server import opening
    from ..store import db as databases
    from ..store import keys, migrations

    settings = common.settings(file)
    url = settings.database if databases.is_sqlite(settings.database) else databases.at_coordinator(settings.database)
    common.note_database(url)
    common.create_files(settings)
    with closing(databases.connect(url, pool=1, erasures=settings.erasures_folder)) as db:
        key = keys.read(db, url, settings.key_file)
        with terminal.progress("rows rewritten") as progress:
            before = migrations.migrate(url, key, progress=progress)
        opening.unlock(db, key)
    already = " (it was there already)" if before == migrations.HEAD else ""
    common.print_line(f"schema {migrations.HEAD}{already}")
    if copy := migrations.copy_made(url, before):
        common.print_line(f"a copy of the database with schema {before} is {copy}")


def vacuum(*, as_json: Json = False, file: File) -> None:
    """Rewrite a SQLite file so that it holds no trace of erased users; other writes wait meanwhile."""
    from ..core import erasures

    with common.database(common.settings(file)) as db:
        if not db.size_bytes():
            raise WrongUse("PostgreSQL does this itself (autovacuum); to do it now, run VACUUM in psql")
        before = db.size_bytes()
        erased = erasures.rewrite(db)
        common.answer({"erased": erased, "bytes_before": before, "bytes": db.size_bytes()}, as_json)
