"""Talk to a Ringbook server: sync an address book, find the contacts who are registered.

The house, from the roof to the ground; imports go down only:

    roof     cli                 the command ringbook-contacts
    world    vcards              files that phones and programs export
    ground   model  errors       what answers hold · what can go wrong

It imports nothing of the server.
"""

__version__ = "0.1.0"
