"""The world: push providers. Each takes a message and says what became of it. Nothing here opens a transaction."""
