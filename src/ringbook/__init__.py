"""Ringbook: people's address books, who of their contacts is registered, and who has joined.

The house, from the roof to the ground; imports go down only, and a test holds it:

    roof     cli  commands  serving  banner  checks  surroundings  app   the only place that builds
             server/                    connections: accepted, bounded, TLS
    edges    api/  dashboard/  worker   apps arrive · admins arrive · time arrives
    between  flushing                   what a process counts goes into the database
             courier  senders           pushes leave: one event loop, and who sends through which channel
    rules    core/                      what we promise; alone changes rows
    world    store/  verify/  push/     databases · proofs of who somebody is · push providers
             outgoing                   the requests that we make
    ground   metrics  logs  memory  times  model  phone  errors  config

The first argument of a function says how it touches the world: `db` opens its own transaction, `tx` works inside
the caller's, neither is pure. `api/wire.py` alone knows how apps spell things, `store/db/` and `store/migrations/`
alone know which database it is, `phone.py` alone knows the numbering library.
"""

__version__ = "0.1.0"
