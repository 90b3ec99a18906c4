"""Admins.

insert, set_password     one admin each
"""

from .db import Tx


def insert(tx: Tx, email: str, password_hash: str, now: int) -> bool:
    """Add an admin; False when there is one with this e-mail."""
    return bool(
        tx.run(
            "INSERT INTO admins (email, password_hash, created_at) VALUES (:email, :password_hash, :now)"
            " ON CONFLICT (email) DO NOTHING",
            email=email,
            password_hash=password_hash,
            now=now,
        )
    )


def set_password(tx: Tx, email: str, password_hash: str) -> bool:
    """Replace the password; False when there is no such admin."""
    return bool(
        tx.run(
            "UPDATE admins SET password_hash = :password_hash WHERE email = :email",
            email=email,
            password_hash=password_hash,
        )
    )
