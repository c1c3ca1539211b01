"""The viewer: a map of a cube, a detection or alerts in the browser, in a notebook, in one file."""
