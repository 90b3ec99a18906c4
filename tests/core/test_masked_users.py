"""Users as a viewer of the dashboard sees them."""

import pytest

from ringbook.core import masked_users


@pytest.mark.parametrize(
    "text, shown",
    [
        ("+44 7700 900123", "…23"),
        ("call (202) 555-0142 or 202.555.0143!", "call (…42 or …43!"),
        ("ann@example.com, bob@example.com", "a…@…, b…@…"),
        ("@example.com", "…@…"),
        ("١٢٠٢٥٥٥٠١٤٢", "…٤٢"),
        ("Ann Lee 1984", "Ann Lee 1984"),
        ("", ""),
    ],
)
def test_phones_and_e_mails_in_a_text_are_masked(text, shown):
    assert masked_users.text(text) == shown


@pytest.mark.parametrize(
    "field, value, shown",
    [
        ("phone", "555 01", "…01"),
        ("phone", "tel:12", "…12"),
        ("email", "ann@example.com", "a…@…"),
        ("login", "ann", "ann"),
        ("login", "tel:2025550142", "tel:…42"),
        ("cidp_uid", "ann@example.com", "a…@…"),
        ("external_user_id", 12025550142, "…42"),
        ("external_user_id", 4711, 4711),
        ("timezone", 60, 60),
        ("full_name", None, None),
    ],
)
def test_a_field_of_a_user_is_masked_if_it_is_or_contains_one(field, value, shown):
    assert masked_users.row({"id": 1234567, field: value}) == {"id": 1234567, field: shown}
