"""Evaluation of detection: which changes of an area are found, and how many events are false."""
