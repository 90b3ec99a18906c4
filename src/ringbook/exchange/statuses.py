"""HTTP statuses of refusals.

API          the statuses that the API answers, by class
status_of    the status of a class
"""

from collections.abc import Mapping

from .. import errors

# docs/wire.md §1.6
API: dict[type[errors.Refused], int] = {
    errors.Malformed: 400,
    errors.Late: 408,
    errors.TooLarge: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Invalid: 422,
    errors.Unreached: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.Refused: 400,  # a class that only another version of Ringbook has
}


def status_of(kind: type[errors.Refused], statuses: Mapping[type[errors.Refused], int]) -> int:
    """The status for a class of refusals: its own, or that of the nearest base class in the table."""
    return next(statuses[base] for base in kind.__mro__ if base in statuses)
