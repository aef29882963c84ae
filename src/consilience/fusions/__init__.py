"""One file per fusion: the tokens of all inputs -> one vector per row."""
