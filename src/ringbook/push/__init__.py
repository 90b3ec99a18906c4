"""Push providers: sends messages to them and reads their answers. Nothing here opens a transaction.

providers.py     the table of providers; the place to add one
transport.py     messages, receipts and senders, which all providers share
"""
