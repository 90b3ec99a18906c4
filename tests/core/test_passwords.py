"""Passwords: what is accepted, how they are stored and compared."""

import threading

import pytest
from argon2 import extract_parameters
from hashing import PRODUCTION

from ringbook import errors
from ringbook.core import passwords


@pytest.fixture(autouse=True)
def costs_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only these tests hash as production does."""
    monkeypatch.setattr(passwords, "_hasher", PRODUCTION)


@pytest.mark.parametrize("password", ["12345678", "        ", "påsswörd", "x" * 1024, "🔑🔑🔑🔑🔑🔑🔑🔑"])
def test_eight_characters_are_enough(password: str) -> None:
    passwords.check(password)


@pytest.mark.parametrize(
    "password, reason", [("1234567", "short"), ("", "short"), ("x" * 1025, "long"), ("é" * 513, "long")]
)
def test_what_may_not_be_a_password(password: str, reason: str) -> None:
    with pytest.raises(errors.Invalid, match=f"too {reason}") as refused:
        passwords.check(password)
    assert refused.value.field == "password"


def test_a_password_is_stored_as_argon2id_with_19_mib_two_passes_and_one_lane() -> None:
    assert passwords.hashed("correct-horse").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_one_password_has_many_hashes_and_matches_each() -> None:
    first, second = passwords.hashed("correct-horse"), passwords.hashed("correct-horse")
    assert first != second
    assert passwords.matches(first, "correct-horse")
    assert passwords.matches(second, "correct-horse")


@pytest.mark.parametrize("given", ["correct-horsE", "correct-horse ", "", "x" * 100_000])
def test_another_password_does_not_match(given: str) -> None:
    assert not passwords.matches(passwords.hashed("correct-horse"), given)


@pytest.mark.parametrize("stored", [None, "", "not a hash"])
def test_an_account_without_a_password_matches_none(stored: str | None) -> None:
    assert not passwords.matches(stored, "correct-horse")


@pytest.mark.parametrize("work", [lambda: passwords.hashed("correct-horse"), lambda: passwords.matches(None, "x")])
def test_a_hash_waits_while_every_core_makes_one(work: object) -> None:
    """An account that does not exist costs a hash, too."""
    waiting = threading.Thread(target=work)  # type: ignore[arg-type]
    for _ in range(passwords.AT_ONCE):
        passwords._turn.acquire()
    try:
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    finally:
        for _ in range(passwords.AT_ONCE):
            passwords._turn.release()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_one_time_password_is_long_legible_and_never_the_same() -> None:
    made = {passwords.one_time() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        passwords.check(password)
        assert [len(part) for part in password.split("-")] == [4, 4, 4, 4]
        assert not set(password) & set("0O1lIi")


def test_what_is_compared_without_a_stored_password_costs_as_much_as_a_stored_one() -> None:
    assert extract_parameters(passwords._no_password()) == extract_parameters(passwords.hashed("correct-horse"))
    assert not passwords.matches(None, "correct-horse")
