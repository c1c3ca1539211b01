"""Simulated changes: put into images at known pixels, as the truth of an evaluation."""
