"""One file a verb: its options, and the function that does it."""
