"""Colours of the detection folder, and QGIS styles that use them.

QGIS applies ``NAME.qml`` by itself when it opens a file ``NAME`` of any suffix beside it, so that
``events.qml`` is the style of ``events.gpkg`` and ``events.geojson``.

References
----------
QGIS user manual, appendix C, 3.3: the QML style format. QGIS 3.22 and later read what is written
here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np

from sarcast.arrays import Float

Rgba = tuple[int, int, int, int]

_STRETCH = (2.0, 98.0)
"""Percentiles of the backscatter that are shown as black and as white."""
_LEAST_RANGE_DB = 1.0
_NO_RANGE = (-25.0, 0.0)
"""Where no backscatter is known, dB."""


@dataclass(frozen=True)
class Stop:
    """A value of a raster and its colour: a class of a palette, or a stop of a ramp.

    Attributes
    ----------
    value
        In the unit of the raster.
    colour
        As ``"#c2410c"``.
    label
        Text of the legend.
    alpha
        0 (transparent) to 255.
    """

    value: float
    colour: str
    label: str
    alpha: int = 255

    @property
    def rgba(self) -> Rgba:
        """Red, green, blue and alpha, 0..255."""
        red, green, blue = bytes.fromhex(self.colour.removeprefix("#"))
        return red, green, blue, self.alpha


NOT_JUDGED = 255
"""Value of ``change.tif`` where the evidence is not known."""

CHANGE = (
    Stop(0, "#ffffff", "unchanged", alpha=0),
    Stop(1, "#c2410c", "loss"),
    Stop(2, "#2563eb", "gain"),
    Stop(3, "#7c3aed", "mixed"),
    Stop(NOT_JUDGED, "#d4d4d4", "not judged", alpha=0),
)
"""Classes of ``change.tif``; those from 1 to 3 are the directions of events."""

_DIRECTIONS = CHANGE[1:4]
DIRECTIONS = {stop.label: stop for stop in _DIRECTIONS}
"""Class by direction of an event."""

DIFFERENCE = (
    Stop(-3.0, "#9a3412", "-3 dB"),
    Stop(-1.5, "#f0a27c", "-1.5 dB"),
    Stop(0.0, "#f7f7f7", "0 dB"),
    Stop(1.5, "#93b4f5", "+1.5 dB"),
    Stop(3.0, "#1e40af", "+3 dB"),
)
"""Ramp of actual - expected, dB: losses in the hue of losses, gains in that of gains."""

EVIDENCE = (
    Stop(0.0, "#ffffff", "p = 1", alpha=0),
    Stop(2.0, "#fde68a", "p = 0.01"),
    Stop(4.0, "#f97316", "p = 1e-4"),
    Stop(6.0, "#b91c1c", "p = 1e-6"),
    Stop(8.0, "#4c0519", "p = 1e-8"),
)
"""Ramp of the evidence, -log10 of the p-value."""

UNCERTAINTY = (
    Stop(0.0, "#fcfbfd", "0 dB"),
    Stop(1.0, "#9e9ac8", "1 dB"),
    Stop(2.0, "#3f007d", "2 dB"),
)
"""Ramp of the standard deviation of the expected image, dB."""

_EARLY_TO_LATE = ("#440154", "#21918c", "#fde725")
_FEW_TO_MANY = ("#deebf7", "#08519c")
_DARK_TO_BRIGHT = ("#000000", "#ffffff")


def blend(colours: Sequence[str], share: float) -> str:
    """Colour at a share, 0..1, of the way from the first of evenly spaced colours to the last."""
    steps = np.linspace(0.0, 1.0, len(colours))
    channels = np.array([list(bytes.fromhex(colour.removeprefix("#"))) for colour in colours]).T
    mixed = (round(float(np.interp(share, steps, channel))) for channel in channels)
    return f"#{bytes(mixed).hex()}"


def date_palette(days: Sequence[int]) -> tuple[Stop, ...]:
    """Palette of dates from the earliest, dark, to the latest, bright.

    Parameters
    ----------
    days
        Days since 1970-01-01, in any order; each becomes one class.
    """
    known = sorted(set(days))
    span = max(known[-1] - known[0], 1)
    return tuple(
        Stop(day, blend(_EARLY_TO_LATE, (day - known[0]) / span), str(np.datetime64(day, "D")))
        for day in known
    )


def looks_palette(most: int) -> tuple[Stop, ...]:
    """Palette of the number of looks, 0 (transparent) to ``most``, which is 1 or more."""
    unseen = Stop(0, "#ffffff", "0", alpha=0)
    shares = [0.0] if most == 1 else np.linspace(0.0, 1.0, most)
    seen = (Stop(i, blend(_FEW_TO_MANY, s), str(i)) for i, s in enumerate(shares, start=1))
    return (unseen, *seen)


def grey_range(*images: Float) -> tuple[float, float]:
    """Backscatter that is shown as black and as white, dB to a tenth, the same in all images."""
    values = np.concatenate([image[np.isfinite(image)] for image in images])
    if not values.size:
        return _NO_RANGE
    low, high = np.percentile(values, _STRETCH)
    return round(float(low), 1), round(float(max(high, low + _LEAST_RANGE_DB)), 1)


def grey_ramp(low: float, high: float) -> tuple[Stop, ...]:
    """Ramp from black at ``low`` to white at ``high``, dB."""
    values = zip((low, high), _DARK_TO_BRIGHT, strict=True)
    return tuple(Stop(value, colour, f"{value:.1f} dB") for value, colour in values)


# --- QGIS styles ----------------------------------------------------------------------------------

QGIS_VERSION = "3.22.0"
"""Version whose elements the styles have."""


def palette_qml(classes: Sequence[Stop]) -> str:
    """QGIS style that gives each value of band 1 its colour."""
    root, renderer = _raster_style("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for stop in classes:
        ET.SubElement(palette, "paletteEntry", {**_item(stop), "value": f"{stop.value:.0f}"})
    return _text(root)


def ramp_qml(stops: Sequence[Stop]) -> str:
    """QGIS style that interpolates the colours of band 1 between stops of rising value."""
    limits = f"{stops[0].value:g}", f"{stops[-1].value:g}"
    root, renderer = _raster_style("singlebandpseudocolor")
    renderer.attrib.update(zip(("classificationMin", "classificationMax"), limits, strict=True))
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"),
        "colorrampshader",
        {
            "colorRampType": "INTERPOLATED",
            "classificationMode": "1",
            "clip": "0",
            "minimumValue": limits[0],
            "maximumValue": limits[1],
            "labelPrecision": "4",
        },
    )
    for stop in stops:
        ET.SubElement(shader, "item", {**_item(stop), "value": f"{stop.value:g}"})
    return _text(root)


def events_qml(column: str = "direction", classes: Sequence[Stop] = _DIRECTIONS) -> str:
    """QGIS style that draws the outline of each event in the colour of its class.

    Parameters
    ----------
    column
        Column of the events that names the class.
    classes
        Classes, by their labels.
    """
    root = _root()
    renderer = ET.SubElement(
        root,
        "renderer-v2",
        {
            "type": "categorizedSymbol",
            "attr": column,
            "forceraster": "0",
            "symbollevels": "0",
            "enableorderby": "0",
            "referencescale": "-1",
        },
    )
    categories, symbols = (ET.SubElement(renderer, name) for name in ("categories", "symbols"))
    for number, stop in enumerate(classes):
        name = str(number)
        ET.SubElement(
            categories,
            "category",
            {"symbol": name, "value": stop.label, "label": stop.label, "render": "true"},
        )
        _add_symbol(symbols, name, stop)
    return _text(root)


def _root() -> ET.Element:
    return ET.Element("qgis", {"version": QGIS_VERSION, "styleCategories": "Symbology"})


def _raster_style(renderer: str) -> tuple[ET.Element, ET.Element]:
    """Root of a raster's style, and its renderer of band 1, to which the colours are added."""
    root = _root()
    element = ET.SubElement(
        ET.SubElement(root, "pipe"),
        "rasterrenderer",
        {"type": renderer, "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""},
    )
    ET.SubElement(ET.SubElement(element, "minMaxOrigin"), "limits").text = "None"
    ET.SubElement(root, "blendMode").text = "0"
    return root, element


def _item(stop: Stop) -> dict[str, str]:
    return {"color": stop.colour, "alpha": str(stop.alpha), "label": stop.label}


def _add_symbol(symbols: ET.Element, name: str, stop: Stop) -> None:
    """Add a polygon's symbol: a faint fill, so that the raster below shows, and its outline."""
    symbol = ET.SubElement(
        symbols, "symbol", {"name": name, "type": "fill", "alpha": "1", "clip_to_extent": "1"}
    )
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    options = ET.SubElement(layer, "Option", {"type": "Map"})
    opaque = ",".join(map(str, stop.rgba))
    faint = ",".join(map(str, (*stop.rgba[:3], 40)))
    for key, value in (
        ("color", faint),
        ("style", "solid"),
        ("outline_color", opaque),
        ("outline_style", "solid"),
        ("outline_width", "0.5"),
        ("outline_width_unit", "MM"),
    ):
        ET.SubElement(options, "Option", {"name": key, "type": "QString", "value": value})


def _text(root: ET.Element) -> str:
    ET.indent(root)
    document = ET.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{document}\n"
