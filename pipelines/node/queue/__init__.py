"""The queue: what came, what is to be done with it, what became of it, in SQLite."""
