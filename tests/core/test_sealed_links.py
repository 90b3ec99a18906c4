"""Texts in addresses."""

from ringbook.core import sealed_links


def test_a_text_comes_back_for_its_purpose_and_application_only(db):
    part = sealed_links.sealed(db, "users", 1, "+44 7700 900123")
    assert sealed_links.opened(db, "users", 1, part) == "+44 7700 900123"
    assert part == sealed_links.sealed(db, "users", 1, "+44 7700 900123") and "900" not in part
    assert sealed_links.opened(db, "users", 2, part) is None
    assert sealed_links.opened(db, "why", 1, part) is None


def test_what_was_not_made_here_is_nothing(db):
    for part in ("", "x", "nonsense", "%%%", "é", "A" * 400):
        assert sealed_links.opened(db, "users", 1, part) is None


def test_a_long_text_is_cut(db):
    part = sealed_links.sealed(db, "users", 1, "x" * 5_000)
    assert sealed_links.opened(db, "users", 1, part) == "x" * sealed_links.LONGEST
