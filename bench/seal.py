"""What sealing costs: microseconds of each operation of `ringbook.seal`.

    python bench/seal.py

The smallest of many short rounds is shown: other programs on the machine only ever make a round longer.
"""

import timeit
from collections.abc import Callable, Iterator

from ringbook.seal import Seal

CALLS, ROUNDS = 300, 1_500
NUMBER, NAME, TYPED = 12025550142, "Ann Example-Miller", "+1 (202) 555-0142"


def operations(seal: Seal) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is measured, under the name that is shown."""
    keyed = seal.number(1, NUMBER)
    contact = seal.contact(1, 7, 0, keyed, NUMBER, NAME, TYPED)
    text, digits = seal.text(NAME, "users", "phone", 7), seal.digits(NUMBER, "numbers", "digits", 7)
    yield "number keyed", lambda: seal.number(1, NUMBER)
    yield "contact sealed", lambda: seal.contact(1, 7, 0, keyed, NUMBER, NAME, TYPED)
    yield "contact keyed and sealed", lambda: seal.contact(1, 7, 0, seal.number(1, NUMBER), NUMBER, NAME, TYPED)
    yield "contact opened", lambda: seal.open_contact(1, 7, 0, keyed, contact)
    yield "digits sealed", lambda: seal.digits(NUMBER, "numbers", "digits", 7)
    yield "digits opened", lambda: seal.open_digits(digits, "numbers", "digits", 7)
    yield "text sealed", lambda: seal.text(NAME, "users", "phone", 7)
    yield "text opened", lambda: seal.open(text, "users", "phone", 7)
    yield "text looked up", lambda: seal.lookup("email", 1, NAME)


def main() -> None:
    """Measure and print."""
    for name, call in operations(Seal(bytes(range(32)))):
        best = min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS
        print(f"{name:26}{best * 1e6:6.2f} µs")


if __name__ == "__main__":
    main()
