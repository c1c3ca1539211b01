"""Networks that predict the expected image."""
