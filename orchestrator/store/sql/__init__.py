"""How statements get to a database: connections, what holds a transaction, and what goes over the wire when.

Nothing here knows what is kept in it.
"""
