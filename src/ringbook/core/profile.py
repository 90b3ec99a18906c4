"""What an app may say about its user, and what of that is stored. Pure.

    Fields      the fields of a request, by their names in requests
    columns     the values to store for them: trimmed, checked and folded, in clear

The fields are declared in `profile_fields.py`.
"""

from typing import Any

from .. import errors
from ..profile_fields import FIELDS, Field, fold
from . import privacy

# Also `password`, `old_password`, and `preferences` for joined pushes (`core/preferences.py`). An absent field stays as
# it is; None or a blank text removes its value.
Fields = dict[str, Any]


def columns(fields: Fields) -> dict[str, Any]:
    """The values to store for the fields of a request, by name (`Field.values`); passwords are not among them.

    Raises Invalid with the field's name; of several invalid fields, with all (`errors.Faults`).
    """
    values: dict[str, Any] = {}
    faults = errors.Faults()
    for one in FIELDS.values():
        if one.requested_as in fields:
            with faults.collected():
                values |= _columns(one, fields[one.requested_as])
    faults.refuse()
    return values


def _columns(one: Field, value: Any) -> dict[str, Any]:
    stored = one.stored(value)
    values = {one.key: stored}
    if one.folded:
        values[one.folded_key] = stored and fold(stored)
    if one.private_key:
        values[one.private_key] = int(stored is not None and privacy.is_private(stored))
    return values
