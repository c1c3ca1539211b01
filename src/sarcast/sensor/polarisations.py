"""The polarisations of Sentinel-1, as transmitted and received: VH is sent as V, received as H."""

PAIRS = (("VV", "VH"), ("HH", "HV"))
"""Bands that one acquisition may have, one or both of a pair; the co-polarised band is first."""
