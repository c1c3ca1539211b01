"""One file per verb: its options, and the function that does it."""
