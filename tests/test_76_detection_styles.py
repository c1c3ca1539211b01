"""Colours and QGIS styles; the elements are those that QGIS 3.22 writes and reads."""

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio

from sarcast.detection import styles
from sarcast.detection.output import qgis_styles, write_detection
from small_detections import by_hand

RAMPS = {"expected", "uncertainty", "difference", "evidence"}
PALETTES = {"change", "change-date", "looks"}


def parse(qml: str) -> ET.Element:
    doctype, document = qml.split("\n", 1)
    assert doctype.startswith("<!DOCTYPE qgis")
    root = ET.fromstring(document)
    assert root.tag == "qgis"
    return root


def renderer(qml: str) -> ET.Element:
    found = parse(qml).find("pipe/rasterrenderer")
    assert found is not None and found.get("band") == "1"
    return found


@pytest.fixture
def written() -> dict[str, str]:
    return qgis_styles(by_hand())


def test_each_raster_has_its_renderer(written: dict[str, str]) -> None:
    types = {name: renderer(qml).get("type") for name, qml in written.items() if name != "events"}
    assert types == {
        **dict.fromkeys(RAMPS, "singlebandpseudocolor"),
        **dict.fromkeys(PALETTES, "paletted"),
    }


def test_stops_of_ramps_rise_from_limit_to_limit(written: dict[str, str]) -> None:
    for name in RAMPS:
        element = renderer(written[name])
        shader = element.find("rastershader/colorrampshader")
        assert shader is not None and shader.get("colorRampType") == "INTERPOLATED"
        values = [float(item.get("value", "nan")) for item in shader.findall("item")]
        assert values == sorted(set(values)) and len(values) >= 2
        limits = [element.get("classificationMin"), element.get("classificationMax")]
        assert limits == [shader.get("minimumValue"), shader.get("maximumValue")]
        assert [float(limit or "nan") for limit in limits] == [values[0], values[-1]]


def test_palettes_name_every_value_that_occurs(tmp_path: Path) -> None:
    write_detection(by_hand(), tmp_path, "change", {})
    for name in PALETTES:
        qml = (tmp_path / f"{name}.qml").read_text()
        entries = renderer(qml).findall("colorPalette/paletteEntry")
        named = {int(entry.get("value", "")) for entry in entries}
        with rasterio.open(tmp_path / f"{name}.tif") as source:
            values = source.read(1, masked=True)
        assert set(np.unique(values.compressed()).tolist()) <= named
        assert all(entry.get("label") and entry.get("alpha") for entry in entries)


def test_dates_are_labelled_as_dates(written: dict[str, str]) -> None:
    entries = renderer(written["change-date"]).findall("colorPalette/paletteEntry")
    labels = [entry.get("label") for entry in entries]
    assert labels == ["2020-08-16", "2020-08-22", "2020-08-28"]
    assert [int(entry.get("value", "")) for entry in entries] == [18490, 18496, 18502]


def test_events_are_outlined_in_the_colour_of_their_direction(written: dict[str, str]) -> None:
    element = parse(written["events"]).find("renderer-v2")
    assert element is not None
    assert (element.get("type"), element.get("attr")) == ("categorizedSymbol", "direction")
    symbols = {symbol.get("name"): symbol for symbol in element.findall("symbols/symbol")}
    outlines = {}
    for category in element.findall("categories/category"):
        layer = symbols[category.get("symbol")].find("layer")
        assert layer is not None and layer.get("class") == "SimpleFill"
        options = {each.get("name"): each.get("value") for each in layer.findall("Option/Option")}
        outlines[category.get("value")] = options["outline_color"]
    assert outlines == {
        "loss": "194,65,12,255", "gain": "37,99,235,255", "mixed": "124,58,237,255",
    }  # fmt: skip


def test_a_label_with_marks_of_xml_stays_text() -> None:
    qml = styles.palette_qml([styles.Stop(1, "#000000", 'p < 1 & "q"')])
    (entry,) = renderer(qml).findall("colorPalette/paletteEntry")
    assert entry.get("label") == 'p < 1 & "q"'


def test_colours_are_blended_by_channel() -> None:
    colours = ("#000000", "#804020", "#ffffff")
    blended = [styles.blend(colours, share) for share in (0.0, 0.25, 0.5, 1.0)]
    assert blended == ["#000000", "#402010", "#804020", "#ffffff"]


def test_two_acquisitions_of_a_day_are_one_class() -> None:
    assert [stop.value for stop in styles.date_palette([9, 3, 9])] == [3, 9]
    assert [stop.label for stop in styles.date_palette([0])] == ["1970-01-01"]


@pytest.mark.parametrize("most", [1, 2, 12])
def test_looks_have_a_colour_each_and_none_where_there_are_none(most: int) -> None:
    palette = styles.looks_palette(most)
    assert [stop.value for stop in palette] == list(range(most + 1))
    assert [stop.alpha for stop in palette] == [0] + [255] * most
    assert len({stop.colour for stop in palette}) == most + 1
