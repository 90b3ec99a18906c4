"""The types of requests and answers: one file for each noun.

    …In, …Request    requests; `wire.take` reads them leniently
    …Out             answers
    user_out, …      convert values of `model` into answers

The OpenAPI document is made from these types too. `fields` has the fields that several nouns share.
Sources: docs/wire.md §2 (sessions), §3 (users), §4 (address book), §5 (subscriptions), §6 (events).
"""
