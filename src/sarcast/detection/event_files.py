"""Events on disk: ``events.gpkg``, ``events.geojson`` and ``events.csv``, with the same columns."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from sarcast.errors import SarcastError
from sarcast.io.footprint import WGS84, canonical_shape, wrap

if TYPE_CHECKING:
    import geopandas

LAYER = "events"
"""Layer of the GeoPackage."""

DIGITS = 7
"""Decimals of degrees in GeoJSON and CSV: about 1 cm."""

WHOLE_COLUMNS = frozenset({"id"})
TEXT_COLUMNS = frozenset({"date", "previous_date", "earliest", "latest", "direction", "cover"})
"""Columns of whole numbers and of text; all others but the geometry are floats."""


def write_events(events: "geopandas.GeoDataFrame", folder: Path) -> None:
    """Write events into a folder that exists, as three files.

    The GeoPackage has the CRS of the events and one layer of MultiPolygons. GeoJSON and CSV have
    degrees: the outline in GeoJSON, a point inside the event in CSV. Columns and their types do not
    depend on the values, nor on whether there is an event.

    Parameters
    ----------
    events
        As in ``Detection.events``.
    folder
        Receives the files.
    """
    typed = with_types(events)
    write_outlines(typed, folder)
    with_points(typed).to_csv(folder / "events.csv", index=False, lineterminator="\n")


def write_outlines(events: "geopandas.GeoDataFrame", folder: Path) -> None:
    """Write ``events.gpkg`` and ``events.geojson`` of events whose columns have their types."""
    events.to_file(
        folder / "events.gpkg",
        layer=LAYER,
        driver="GPKG",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
    )
    text = json.dumps(feature_collection(events), indent=1, allow_nan=False)
    (folder / "events.geojson").write_text(text + "\n", encoding="utf-8")


def read_events(folder: Path) -> "geopandas.GeoDataFrame":
    """Read the events that ``write_events`` wrote into a folder.

    Raises
    ------
    SarcastError
        If there are none, or the file is damaged.
    """
    import geopandas
    from pyogrio.errors import DataSourceError

    path = folder / "events.gpkg"
    if not path.is_file():
        raise SarcastError(f"{path} does not exist: expected a folder that sarcast detect wrote")
    try:
        return geopandas.read_file(path, layer=LAYER)
    except (DataSourceError, ValueError) as error:
        raise SarcastError(f"{path} cannot be read ({error}); run sarcast detect again") from error


def with_types(events: "geopandas.GeoDataFrame") -> "geopandas.GeoDataFrame":
    """Events whose columns are int64, text or float64, as a frame without rows leaves open."""
    types = {
        name: "int64" if name in WHOLE_COLUMNS else "str" if name in TEXT_COLUMNS else "float64"
        for name in events.columns
        if name != events.geometry.name
    }
    return events.astype(types)


def feature_collection(events: "geopandas.GeoDataFrame") -> dict[str, Any]:
    """Events as a GeoJSON object: degrees, cut at 180, exterior rings anticlockwise, NaN as null.

    References
    ----------
    RFC 7946, The GeoJSON Format, 3.1.6 (rings), 3.1.9 (180 degrees) and 4 (longitude, latitude).
    """
    rows = events.drop(columns=events.geometry.name).to_dict("records")
    features = [
        {
            "type": "Feature",
            "id": row["id"],
            "properties": {name: json_value(value) for name, value in row.items()},
            "geometry": shapely.geometry.mapping(outline),
        }
        for row, outline in zip(rows, outlines_in_degrees(events), strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def outlines_in_degrees(events: "geopandas.GeoDataFrame") -> list[BaseGeometry]:
    """Outlines of events as in their GeoJSON."""
    return [_in_geojson(outline) for outline in events.geometry.to_crs(WGS84)]


def with_points(events: "geopandas.GeoDataFrame") -> Any:
    """Events as a table: longitude and latitude of a point inside replace the outline."""
    points = events.geometry.representative_point().to_crs(WGS84)
    return events.drop(columns=events.geometry.name).assign(
        longitude=wrap(points.x.to_numpy(dtype=float)).round(DIGITS),
        latitude=points.y.to_numpy(dtype=float).round(DIGITS),
    )


def _in_geojson(outline: BaseGeometry) -> BaseGeometry:
    """Outline in degrees as RFC 7946 has it."""
    parts = [orient(part) for part in shapely.get_parts(canonical_shape(outline))]
    whole = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return shapely.transform(whole, lambda xy: xy.round(DIGITS))


def json_value(value: Any) -> Any:
    """Value of a column as JSON has it: None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
