"""The key of all databases that the bench makes.

SEAL            seals and opens with it
key_file()      its file, for `ringbook` commands
migrate(url)    the schema, and the key's fingerprint in the database
"""

import atexit
import shutil
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from ringbook.seal import Key, Seal
from ringbook.server import opening
from ringbook.store import db as databases
from ringbook.store import migrations

KEY = Key(bytes(range(32)))
SEAL = Seal(KEY.secret)


@cache
def key_file() -> Path:
    """The file of the key, which goes when the bench ends."""
    folder = tempfile.mkdtemp(prefix="ringbook-bench-key-")
    atexit.register(shutil.rmtree, folder)
    file = Path(folder, "ringbook.key")
    file.touch(0o600)
    file.write_text(KEY.secret.hex())
    return file


def migrate(url: str) -> None:
    """Bring an empty database to today's schema, sealed with the key."""
    migrations.migrate(url)
    with closing(databases.connect(url, pool=1)) as db:
        opening.unlock(db, KEY)
