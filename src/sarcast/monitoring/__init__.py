"""Change followed over acquisitions: alerts that are confirmed, or not, and end."""
