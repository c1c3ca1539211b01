"""Scenes of one kind: of several polarisations or modes, those of the most scenes are used."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import pystac

from sarcast.catalogue.scene import POLARISATIONS
from sarcast.catalogue.unusable import LeftOut

_CHANNELS = ("VV or VH", "HH or HV")
_MODES = ("IW", "EW", "SM", "WV")


def select_comparable(
    items: Sequence[pystac.Item], left_out: LeftOut, known: Collection[str] = ()
) -> list[pystac.Item]:
    """Keep the scenes with the polarisations and the mode of the most scenes.

    Backscatter in HH cannot be compared with VV, nor extra-wide with interferometric-wide swath.
    Where as many scenes are of each kind, VV and VH, and IW, are kept. Scenes whose mode is
    unknown are kept.

    Parameters
    ----------
    items
        Scenes in sarcast's form.
    left_out
        Collects the scenes of another kind.
    known
        Ids of scenes that decide the kind, because a cube already has them; default: all.
    """
    kept = _keep(items, _channels_of, _CHANNELS, "polarisation", left_out, known)
    return _keep(kept, _mode_of, _MODES, "mode", left_out, known)


def _keep(
    items: Sequence[pystac.Item],
    kind_of: Callable[[pystac.Item], str | None],
    order: Sequence[str],
    what: str,
    left_out: LeftOut,
    known: Collection[str],
) -> list[pystac.Item]:
    decisive = [item for item in items if item.id in known] or items
    counts = Counter(kind for item in decisive if (kind := kind_of(item)) is not None)
    if not counts:
        return list(items)
    chosen = max(counts, key=lambda kind: (counts[kind], -order.index(kind)))
    kept = []
    for item in items:
        kind = kind_of(item)
        if kind in (None, chosen):
            kept.append(item)
        else:
            left_out.add(f"{what} {kind}, where {chosen} is used", item.id)
    return kept


def _channels_of(item: pystac.Item) -> str | None:
    names = {
        band.get("name")
        for asset in item.assets.values()
        for band in asset.extra_fields.get("bands", [])
    }
    present = [name for name in POLARISATIONS if name in names]
    if not present:
        return None
    return _CHANNELS[0] if present[0].startswith("V") else _CHANNELS[1]


def _mode_of(item: pystac.Item) -> str | None:
    """Instrument mode; the six beams of stripmap, S1 to S6, are one."""
    mode = str(item.properties.get("sar:instrument_mode", "")).upper()
    stripmap = len(mode) == 2 and mode[0] == "S" and mode[1].isdigit()
    return "SM" if stripmap else mode if mode in _MODES else None
