"""`cloudwright api`: every command of a server from a terminal. A client like others: it knows only the wire."""
