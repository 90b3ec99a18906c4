"""The causes of refusals, and their statuses."""

from collections.abc import Iterator

from ringbook import errors
from ringbook.exchange import statuses


def below(kind: type[errors.Refused]) -> Iterator[type[errors.Refused]]:
    yield kind
    for one in kind.__subclasses__():
        yield from below(one)


CLASSES = [kind for kind in below(errors.Refused) if kind.__module__ == errors.__name__]


def test_each_class_has_a_cause_of_its_own_and_is_found_by_it():
    assert len(CLASSES) > 10 and len({kind.cause for kind in CLASSES}) == len(CLASSES)
    assert [errors.by_cause(kind.cause) for kind in CLASSES] == CLASSES


def test_the_status_is_that_of_the_class_or_of_its_nearest_base_class():
    assert statuses.status_of(errors.Conflict, statuses.API) == 422
    assert statuses.status_of(errors.Busy, statuses.API) == 503
    assert statuses.status_of(errors.by_cause("only in a later version"), statuses.API) == 400
