"""Memory of a process."""

import resource


def peak_gb() -> float:
    """Greatest resident memory of this process so far, GB of 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
