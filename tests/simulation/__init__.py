"""A world in memory for the rule book: virtual time, real rules, no I/O."""
