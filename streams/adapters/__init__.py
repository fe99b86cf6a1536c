"""One outside thing a file: a library or a system behind a small surface of our own."""
