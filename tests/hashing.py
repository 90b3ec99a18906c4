"""Password hashes that cost a test little: argon2id in 8 KiB and one pass, instead of 19 MiB and two.

A hash with the costs of production takes 24 ms of a core, and most tests make one only to have a user who can log in.
What a hash costs is part of it, so processes with either costs read each other's hashes.

    PRODUCTION      the costs of production
    make_cheap      this process hashes cheaply from now on
"""

from argon2 import PasswordHasher, Type

from ringbook.core import passwords

PRODUCTION = passwords._hasher
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID)


def make_cheap() -> None:
    """Hash passwords cheaply in this process, also for an account that does not exist."""
    passwords._hasher = CHEAP
    passwords._nobody = CHEAP.hash("nobody has this password")
