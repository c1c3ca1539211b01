"""How well changes are found: simulated changes, metrics, experiments, the report."""
