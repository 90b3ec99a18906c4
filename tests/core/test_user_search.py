"""What may be asked of a query for users: the bounds that keep a small request cheap."""

import pytest

from ringbook import errors
from ringbook.core.user_search import MOST_CONDITIONS, Asked, query
from ringbook.model import App, AppSettings
from ringbook.store.users import FOLDED_CHARACTERS, fold

APP = App(
    id=1,
    name="test",
    auth_key="k",
    auth_secret="s",
    hash_key=b"",
    vapid_public_key="",
    settings=AppSettings(),
    created_at=0,
)


def test_a_query_has_so_many_conditions_and_no_more():
    one = Asked("id", "in", (1,))
    options = {"sort": "id", "descending": False, "offset": 0, "limit": 10}
    assert len(query(APP, [one] * MOST_CONDITIONS, **options).conditions) == MOST_CONDITIONS
    with pytest.raises(errors.Invalid, match="conditions"):
        query(APP, [one] * (MOST_CONDITIONS + 1), **options)


def test_no_more_of_a_text_is_folded_than_could_be_stored():
    marks = "\u0315\u0300"
    assert len(fold("a" + marks * 100_000)) <= FOLDED_CHARACTERS
    assert fold("A" * 255) == "a" * 255
