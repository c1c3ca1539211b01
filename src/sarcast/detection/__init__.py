"""From an actual and an expected image to what changed on the ground."""
