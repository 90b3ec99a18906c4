"""The words by which admins find users: an ordinary table with an index, so that an erasure leaves nothing of them.

put, put_all            add the words of a user, of many users
replace, forget         replace those of a user, delete those of many; those of a deleted user go with the user
found                   the users of whom every given word is the beginning of one of their words
having                  which of given users are such users

`core/words.py` says what becomes a word. The table holds words in clear.
"""

from collections.abc import Iterable, Sequence

from .db import Rows, Tx

LAST = "\U0010ffff"  # no character comes after it
ROWS_A_USER = 2  # that are read for each user who is asked for: a user may have several words with one beginning


def put(tx: Tx, app_id: int, user_id: int, words: Sequence[str]) -> None:
    """Add words of a user. On a cluster, rows that are spelled out go to the user's node at once, a list does not."""
    if words:
        params = {f"word_{place}": word for place, word in enumerate(words)}
        rows = ", ".join(f"(:app_id, :{name}, :user_id)" for name in params)
        tx.run(
            f"INSERT INTO words (app_id, word, user_id) VALUES {rows} ON CONFLICT (app_id, word, user_id) DO NOTHING",
            app_id=app_id,
            user_id=user_id,
            **params,
        )


def put_all(tx: Tx, app_id: int, words: Iterable[tuple[int, str]]) -> None:
    """Add words of users: the user's id and a word."""
    tx.run(
        "INSERT INTO words (app_id, word, user_id) SELECT :app_id, r.word, r.user_id FROM :rows AS r WHERE 1 = 1"
        " ON CONFLICT (app_id, word, user_id) DO NOTHING",
        app_id=app_id,
        rows=Rows({"user_id": int, "word": str}, list(words)),
    )


def replace(tx: Tx, app_id: int, user_id: int, words: Sequence[str]) -> None:
    """Replace the words of a user."""
    tx.run("DELETE FROM words WHERE user_id = :user_id", user_id=user_id)
    put(tx, app_id, user_id, words)


def forget(tx: Tx, user_ids: Sequence[int]) -> None:
    """Delete the words of these users. On a cluster this waits for all who write words."""
    tx.run("DELETE FROM words WHERE user_id IN :ids", ids=Rows.of("id", user_ids))


def found(tx: Tx, app_id: int, beginnings: Sequence[str], limit: int) -> tuple[list[int], bool]:
    """Up to `limit` ids of users who have a word for each of these beginnings. True if there may be more.

    beginnings   the rarest one first: its words are read from the index, and the others are looked up by user
    """
    tables, conditions = ["words AS w0"], ["w0.app_id = :app_id"]
    params: dict[str, str] = {}
    for place, beginning in enumerate(beginnings):
        if place:
            tables.append(f"words AS w{place}")
            # "+" keeps SQLite, which has no statistics, from reading all words with this beginning.
            conditions.append(f"w{place}.user_id = w0.user_id AND +w{place}.app_id = :app_id")
        conditions.append(f"w{place}.word >= :low_{place} AND w{place}.word < :high_{place}")
        params |= {f"low_{place}": beginning, f"high_{place}": beginning + LAST}
    rows = tx.tuples(
        f"SELECT w0.user_id FROM {' CROSS JOIN '.join(tables)} WHERE {' AND '.join(conditions)}"
        # The order of the index, which a cluster does not keep by itself: pages follow each other in it.
        " ORDER BY w0.word, w0.user_id LIMIT :rows",
        app_id=app_id,
        rows=limit * ROWS_A_USER + 1,
        **params,
    )
    ids = list(dict.fromkeys(row[0] for row in rows))
    return ids[:limit], len(ids) > limit or len(rows) > limit * ROWS_A_USER


def having(tx: Tx, beginnings: Sequence[str], user_ids: Sequence[int]) -> set[int]:
    """Those of these users who have a word for each of these beginnings."""
    left = set(user_ids)
    for beginning in beginnings:
        rows = tx.tuples(
            "SELECT user_id FROM words WHERE user_id IN :ids AND word >= :low AND word < :high",
            ids=Rows.of("id", sorted(left)),
            low=beginning,
            high=beginning + LAST,
        )
        left = {row[0] for row in rows}
    return left
