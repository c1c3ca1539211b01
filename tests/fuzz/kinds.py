"""The kinds of input by name."""

from .fuzz_csv import Csv
from .fuzz_cube import Cube
from .fuzz_geoparquet import GeoParquet
from .fuzz_geotiff import GeoTiff
from .fuzz_model import ModelFolder
from .fuzz_netcdf import NetCdf
from .fuzz_polygons import Polygons
from .fuzz_safe import Safe
from .fuzz_stac_feature import StacFeature
from .fuzz_stac_item import StacItem
from .fuzz_tfrecord import TfRecord
from .fuzz_yaml import Yaml
from .fuzz_zip import Zip
from .harness import Kind

KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        GeoTiff, StacItem, StacFeature, GeoParquet, Yaml, ModelFolder, Cube, Polygons, NetCdf, Csv,
        Safe, Zip, TfRecord,
    )
}  # fmt: skip
