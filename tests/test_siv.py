"""AES-SIV of many texts gives what the library gives for each of them."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st

from ringbook.siv import FEW, ManySiv, blocks_cipher

KEY = bytes(range(64))
MANY = ManySiv(KEY)
word = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
texts = st.integers(1, 5).flatmap(lambda blocks: st.binary(min_size=16 * blocks, max_size=16 * blocks))


def by_the_library(place: tuple[int, int, int], tail: int, text: bytes, key: bytes = KEY) -> bytes:
    return AESSIV(key).encrypt(text, [b"".join(one.to_bytes(8, "big") for one in (*place, tail))])


@settings(max_examples=200, deadline=None)
@given(
    place=st.tuples(word, word, word),
    rows=st.lists(st.tuples(word, texts), max_size=8),
    times=st.sampled_from([1, FEW]),
    key=st.just(KEY) | st.binary(min_size=64, max_size=64),
)
def test_each_text_is_sealed_as_the_library_seals_it(
    place: tuple[int, int, int], rows: list[tuple[int, bytes]], times: int, key: bytes
) -> None:
    # So many times that those of each length are sealed together, with tails that differ.
    tails = [tail ^ turn for tail, _ in rows for turn in range(times)]
    plain = [text for _, text in rows for _ in range(times)]
    expected = [by_the_library(place, tail, text, key) for tail, text in zip(tails, plain, strict=True)]
    assert ManySiv(key).seal(place, tails, plain) == expected


def test_a_counter_never_runs_into_the_next_text() -> None:
    """The counter has 31 bits before a cleared one, so some of many tags are near the end of these."""
    plain = [os.urandom(16) + bytes(16 * 40) for _ in range(2_000)]
    tails = list(range(2_000))
    expected = [by_the_library((1, 2, 3), tail, text) for tail, text in zip(tails, plain, strict=True)]
    assert MANY.seal((1, 2, 3), tails, plain) == expected


@pytest.mark.parametrize("count", [0, 1, FEW - 1, FEW, 3 * FEW])
def test_many_and_few_texts_are_sealed_alike(count: int) -> None:
    tails, plain = list(range(count)), [bytes([at]) * (16 + 16 * (at % 3)) for at in range(count)]
    found = MANY.seal((1, 7, 2), tails, plain)
    assert found == [by_the_library((1, 7, 2), tail, text) for tail, text in zip(tails, plain, strict=True)]


def test_threads_seal_at_the_same_time() -> None:
    tails, plain = list(range(4_000)), [bytes([at % 251]) * 48 for at in range(4_000)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: MANY.seal((1, 7, 2), tails, plain), range(24)))
    assert all(one == found[0] for one in found)
    assert found[0][17] == by_the_library((1, 7, 2), 17, plain[17])


def test_blocks_are_encrypted_each_by_itself() -> None:
    key = bytes(range(32))
    block = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(bytes(16))
    assert blocks_cipher(key)(bytes(48)) == 3 * block


def test_should_the_two_ever_disagree_the_library_seals_all() -> None:
    broken = ManySiv(KEY)
    broken._first ^= 1
    tails, plain = list(range(FEW)), [bytes([at]) * 32 for at in range(FEW)]
    found = broken.seal((1, 7, 2), tails, plain)
    assert found == [by_the_library((1, 7, 2), tail, text) for tail, text in zip(tails, plain, strict=True)]
