"""The fields of a profile, and their stored form."""

import pytest

from ringbook import errors
from ringbook.core.profile import Fields, columns


@pytest.mark.parametrize(
    "said, column, value",
    [
        ({"full_name": "  Ann Example \n"}, "full_name", "Ann Example"),
        ({"login": " Ann "}, "login", "Ann"),
        ({"login": " Ann "}, "login_folded", "ann"),
        ({"login": "ann"}, "login_private", 0),
        ({"login": "+1 202 555 0101"}, "login_private", 1),
        ({"email": " Ann@Example.com "}, "email_folded", "ann@example.com"),
        ({"phone": " 404-388-5366 "}, "phone", "404-388-5366"),
        ({"phone": "by the stairs"}, "phone", "by the stairs"),
        ({"phone": "  "}, "phone", None),
        ({"avatar": None}, "avatar", None),
        ({"website": "example.com/ann"}, "website", "http://example.com/ann"),
        ({"website": "HTTPS://example.com"}, "website", "HTTPS://example.com"),
        ({"website": "javascript:alert(1)"}, "website", "http://javascript:alert(1)"),
        ({"tag_list": [" vip ", "VIP", "", "red"]}, "user_tags", "vip,red"),
        ({"tag_list": []}, "user_tags", None),
        ({"tag_list": None}, "user_tags", None),
        ({"timezone": 180}, "timezone", 180),
        ({"external_user_id": 2**40}, "external_user_id", 2**40),
    ],
)
def test_what_is_stored_of_what_is_said(said: Fields, column: str, value: object) -> None:
    assert columns(said)[column] == value


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("login", "ab", "too short"),
        ("login", " ab ", "too short"),
        ("login", "x" * 71, "too long"),
        ("email", "ann", "e-mail"),
        ("email", "ann@", "e-mail"),
        ("email", "ann@b@c", "e-mail"),
        ("email", "ann smith@example.com", "e-mail"),
        ("email", "x" * 251 + "@b.c", "too long"),
        ("full_name", "x" * 256, "too long"),
        ("phone", "1" * 65, "too long"),
        ("custom_data", "x" * 20_001, "too long"),
        ("website", "ftp://example.com", "http"),
        ("website", "javascript://%0aalert(1)", "http"),
        ("tag_list", ["a", "b", "c", "d", "e", "f"], "more than 5"),
        ("tag_list", ["a,b"], "comma"),
        ("tag_list", ["x" * 65], "64"),
        ("timezone", 1441, "day"),
        ("timezone", -(2**40), "day"),
    ],
)
def test_what_is_refused_and_why(field: str, value: object, reason: str) -> None:
    with pytest.raises(errors.Invalid, match=reason) as refused:
        columns({field: value})  # type: ignore[misc]
    assert refused.value.field == field


def test_nothing_is_said_of_what_is_absent_and_of_passwords() -> None:
    assert columns({}) == {}
    assert columns({"password": "x", "old_password": "y"}) == {}
