"""Time, memory and accuracy, measured: each a module with a command of its own."""
