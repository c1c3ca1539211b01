"""Changes of known place and size, put into images."""
