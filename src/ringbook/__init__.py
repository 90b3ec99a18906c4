"""Ringbook: people's address books, who of their contacts is registered, and who has joined.

Imports go down only, also for types; import-linter checks it:

    entry     cli/ -> server/                          the commands; the serving process and its front door
    adapters  api/  dashboard/  worker/                requests of apps, requests of admins, background jobs
              exchange/                                what both edges share: from request to response
    domain    core/                                    the rules
    gateways  store/  push/  verify/  outbound/        databases, push, number verification, outgoing HTTP and mail
    base      model  app_settings  profile_fields  preferences  push_texts  plurals  phone  seal  siv  errors  config
              logs  metrics  times  terminal

The first argument of a function shows its side effects: `db` opens its own transaction, `tx` works inside the caller's,
and a function with neither is pure. Only `api/wire.py` knows the names and formats of requests and responses, only
`store/db/`, `store/cluster.py` and `store/migrations/` know which database is in use, only `phone.py` knows the
numbering library, and only `seal.py` and `siv.py` contain storage cryptography.
"""

__version__ = "0.2.0"
