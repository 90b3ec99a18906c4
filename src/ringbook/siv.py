"""AES-SIV (RFC 5297) of many texts in few calls.

    ManySiv(key)                    under a key of 64 bytes
    ManySiv.seal(head, tails, …)    what the library's AESSIV gives for each text, in half the time

The library takes more than a microsecond for a call, and a text of three blocks needs only eight blocks of AES. So
the texts of one length are sealed side by side: each step of the algorithm is one call of AES for all of them, and one
operation on integers of 16 bytes for each text. Only the order of the work differs from the library's.
"""

import struct
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from itertools import compress

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

BLOCK = 16
FEW = 20  # the library takes less time for fewer texts
COUNTED = 2**128 - 1 & ~(1 << 63 | 1 << 31)  # the bits of the tag that the counter begins with (RFC 5297, 2.5)

_pack_word, _pack_block = struct.Struct(">Q").pack, struct.Struct(">QQ").pack
Blocks = Callable[[bytes], bytes]  # encrypts blocks, each by itself


class ManySiv:
    """Seals under one key. Threads may share it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._one = AESSIV(key).encrypt
        self._ciphers = threading.local()  # two threads cannot use one cipher at once
        mac, _ = self._own_ciphers()
        self._last = doubled(number_of(mac(bytes(BLOCK))))  # CMAC adds it to the last block of a text
        self._first = doubled(number_of(mac(_block(self._last))))  # what S2V begins with

    def seal(self, place: tuple[int, int, int], tails: Sequence[int], texts: Sequence[bytes]) -> list[bytes]:
        """Each text, sealed with its own associated datum of 32 bytes.

        place, tails   the datum as numbers of 8 bytes: three that are the same for all texts, then the text's own one
        texts          each of a multiple of 16 bytes, and not empty
        """
        if len(texts) < FEW:
            return self._each(place, tails, texts)
        lengths = list(map(len, texts))
        by_length = {}
        for length in set(lengths):
            chosen = list(map(length.__eq__, lengths))
            some = list(compress(tails, chosen)), list(compress(texts, chosen))
            found = self._each(place, *some) if len(some[0]) < FEW else self._together(place, *some)
            by_length[length] = iter(found)
        return list(map(next, map(by_length.__getitem__, lengths)))

    def _each(self, place: tuple[int, int, int], tails: Sequence[int], texts: Sequence[bytes]) -> list[bytes]:
        head = struct.pack(">QQQ", *place)
        return [self._one(text, [head + _pack_word(tail)]) for tail, text in zip(tails, texts, strict=True)]

    def _together(self, place: tuple[int, int, int], tails: Sequence[int], texts: Sequence[bytes]) -> list[bytes]:
        """The same for texts of one length."""
        mac, cipher = self._own_ciphers()
        count, size = len(texts), len(texts) * BLOCK
        columns = _columns(texts)
        # S2V (RFC 5297, 2.4): the datum's CMAC is mixed into the text's last block, and the CMAC of that is the tag.
        begun = number_of(mac(_pack_block(*place[:2]))) ^ place[2] << 64
        datum = _interleaved(array("Q", bytes(8 * count)), _swapped(array("Q", tails)))
        mixed = number_of(mac(_bytes(number_of(datum) ^ self._repeated(begun ^ self._last, count), size)))
        chained = 0
        for column in columns[:-1]:
            chained = number_of(mac(_bytes(chained ^ column, size)))
        last = columns[-1] ^ mixed ^ self._repeated(self._first ^ self._last, count)
        tags = mac(_bytes(chained ^ last, size))
        # CTR: the bits that are cleared keep a sum within its own block.
        counter, one = number_of(tags) & self._repeated(COUNTED, count), self._repeated(1, count)
        sealed = [tags]
        for column in columns:
            sealed.append(_bytes(number_of(cipher(_bytes(counter, size))) ^ column, size))
            counter += one
        rows = _rows(sealed)
        # Nothing is stored that could not be opened: the library has the last word, by the last text.
        as_usual = rows[-1:] == self._each(place, tails[-1:], texts[-1:])
        return rows if as_usual else self._each(place, tails, texts)

    @staticmethod
    def _repeated(block: int, count: int) -> int:
        return number_of(_block(block) * count)

    def _own_ciphers(self) -> tuple[Blocks, Blocks]:
        """AES under the two halves of the key, for this thread."""
        try:
            found: tuple[Blocks, Blocks] = self._ciphers.both
        except AttributeError:
            half = len(self._key) // 2
            found = blocks_cipher(self._key[:half]), blocks_cipher(self._key[half:])
            self._ciphers.both = found
        return found


def blocks_cipher(key: bytes) -> Blocks:
    """AES-256 of blocks, each by itself: the part of which modes are made. Only one thread at a time may use it."""
    return Cipher(AES256(key), ECB()).encryptor().update  # noqa: S305


def doubled(block: int) -> int:
    """The product with x in the field of 2^128 elements (RFC 5297, 2.3)."""
    return (block << 1) % 2**128 ^ (0x87 if block >> 127 else 0)


def number_of(blocks: bytes) -> int:
    """Blocks side by side as one number."""
    return int.from_bytes(blocks, "big")


def _bytes(blocks: int, size: int) -> bytes:
    return blocks.to_bytes(size, "big")


def _block(value: int) -> bytes:
    return value.to_bytes(BLOCK, "big")


def _swapped(words: "array[int]") -> "array[int]":
    """Numbers of 8 bytes, the highest byte first."""
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _interleaved(first: "array[int]", second: "array[int]") -> bytes:
    """Blocks of two words."""
    words = array("Q", bytes(2 * len(first) * first.itemsize))
    words[0::2], words[1::2] = first, second
    return words.tobytes()


def _columns(texts: Sequence[bytes]) -> list[int]:
    """The first blocks of all texts side by side, then their second ones, and so on."""
    words, step = array("Q", b"".join(texts)), len(texts[0]) // 8
    return [number_of(_interleaved(words[at::step], words[at + 1 :: step])) for at in range(0, step, 2)]


def _rows(columns: Sequence[bytes]) -> list[bytes]:
    """The reverse: the blocks of each text, one after the other."""
    width = len(columns) * BLOCK
    words, step = array("Q", bytes(len(columns[0]) * len(columns))), 2 * len(columns)
    for at, column in enumerate(columns):
        halves = array("Q", column)
        words[2 * at :: step], words[2 * at + 1 :: step] = halves[0::2], halves[1::2]
    rows = words.tobytes()
    return [rows[start : start + width] for start in range(0, len(rows), width)]
