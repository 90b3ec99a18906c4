"""`ringbook check`: is everything ready for `ringbook serve`?"""

import os

from .. import config
from . import common
from .common import File, Json


def check(*, as_json: Json = False, file: File) -> int:
    """Check that everything is ready for `ringbook serve`."""
    from ..server import checks

    settings = common.settings(file)
    common.note_database(settings.database)
    found = list(checks.readiness(settings, config.secret_files(os.environ, file)))
    if as_json:
        common.print_json(found)
    else:
        common.print_lines(f"{'ok  ' if one.ok else 'NO  '} {one.what}: {one.seen}" for one in found)
    return 0 if all(one.ok for one in found) else 1
