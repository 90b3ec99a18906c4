"""What requests and answers look like: a file for each noun, and in it a type for each shape.

    …In, …Request    what apps send; read leniently by `wire.take`
    …Out             what apps receive
    user_out, …      our nouns → what apps receive

From these types requests are read, answers written, and OpenAPI made. `fields` are those that several nouns share.
Sources: docs/wire.md §2 (sessions), §3 (users), §4 (address book), §5 (subscriptions), §6 (events).
"""
