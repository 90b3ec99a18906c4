"""Ringbook: people's address books, who of their contacts is registered, and who has joined.

Imports go down only, also for types; import-linter checks it:

    entry     cli/ -> server/                          the commands; the serving process and its front door
    adapters  api/  dashboard/  worker/                requests of apps, requests of admins, background jobs
              exchange/                                what both edges share: from request to response
    domain    core/                                    the rules
    gateways  store/  push/  verify/  outbound/        databases, push providers, number verification, outgoing HTTP
    base      model  app_settings  phone  errors  config  logs  metrics  times

The first argument of a function says how it touches the world: `db` opens its own transaction, `tx` works inside
the caller's, neither is pure. `api/wire.py` alone knows how apps spell things, `store/db/` and `store/migrations/`
alone know which database it is, `phone.py` alone knows the numbering library.
"""

__version__ = "0.1.0"
