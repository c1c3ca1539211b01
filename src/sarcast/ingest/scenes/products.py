"""Products: the files of one scene on disk, made into a scene by their profile."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sarcast.arrays import Float
from sarcast.catalogue.scene import INCIDENCE, POLARISATIONS, Raster, Scene
from sarcast.catalogue.unusable import (
    COMPLEX,
    NO_DATA,
    NO_UNIT,
    OTHER_UNIT,
    UNKNOWN_BANDS,
    LeftOut,
    UnusableError,
)
from sarcast.ingest.scenes import profile as profiles
from sarcast.ingest.scenes.containers import ContainerLayer, open_container
from sarcast.ingest.scenes.profile import MetadataField, SceneProfile
from sarcast.ingest.scenes.values import implausible
from sarcast.io.masks import ComplexRasterError
from sarcast.io.rasters import any_data, grid_of, has_data, read_sample
from sarcast.sensor import orbits

_TURN_DEG = 360.0
PROCESSED = "processing:datetime"
"""Property of an item: when its rasters were processed (STAC processing extension)."""


class FileIndex:
    """All files of a search, found by their names; each expression is evaluated once."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = sorted(files, key=lambda path: path.name)
        self._cache: dict[str, Path | None] = {}

    def find(self, pattern: re.Pattern[str]) -> Path | None:
        """The first file whose whole name matches; None if there is none."""
        if pattern.pattern not in self._cache:
            matching = (path for path in self._files if pattern.fullmatch(path.name))
            self._cache[pattern.pattern] = next(matching, None)
        return self._cache[pattern.pattern]


@dataclass
class RasterProduct:
    """Files of one scene.

    Attributes
    ----------
    name
        Id of the scene.
    profile
        The profile that matched the files.
    groups
        Named groups of the file names.
    files
        Each file, and the polarisation in its name, or None.
    nodata
        Stored value of missing pixels that the user declares.
    """

    name: str
    profile: SceneProfile
    groups: dict[str, str]
    files: list[tuple[Path, str | None]] = field(default_factory=list)
    nodata: float | None = None

    @property
    def bands(self) -> set[str | None]:
        """Polarisations in the names of the files; None for a name without one."""
        return {band for _, band in self.files}

    def to_scene(
        self,
        declared: Mapping[MetadataField, str],
        file_index: FileIndex,
        left_out: LeftOut,
    ) -> Scene:
        """Make the scene, and check that its rasters can be read.

        Parameters
        ----------
        declared
            Unit and quantity declared by the user; they override those of the profile.
        file_index
            All files of the search, among them separate rasters of angles.
        left_out
            Collects rasters without data, if others of the scene have some.

        Raises
        ------
        SarcastError
            If a file cannot be read or has no CRS, if no pixel has data, if bands, unit, quantity
            or time are unknown, or if the values are not in the declared unit.
        """
        bands, tags, band_groups = self._read_bands()
        metadata = self.profile.read_metadata({**self.groups, **band_groups}, tags)
        metadata |= dict(declared)
        source = str(self.files[0][0])
        if "unit" not in metadata or "quantity" not in metadata:
            raise UnusableError(
                NO_UNIT,
                f"{source}: its name contains neither unit nor quantity; "
                f"declare them with --unit 'linear power' or dB, and --quantity gamma0 or sigma0",
            )
        unit = profiles.check_unit(metadata["unit"], source)
        rasters = self._rasters(bands, unit, left_out)
        heading = profiles.heading_deg(metadata)
        heading = self._mean_heading(file_index) if heading is None else heading
        return self._scene(metadata, {**rasters, **self._incidence(file_index)}, heading)

    def _read_bands(
        self,
    ) -> tuple[dict[Path, dict[int, ContainerLayer]], dict[str, str], dict[str, str]]:
        """Layers by file and band number, named after their bands; file tags; band groups."""
        files: dict[Path, dict[int, ContainerLayer]] = {}
        tags: dict[str, str] = {}
        band_groups: dict[str, str] = {}
        for path, band in self.files:
            container = open_container(path)
            layers, groups = _name_layers(path, container.layers, band, self.profile)
            for layer in layers:
                files.setdefault(layer.path, {})[layer.number] = layer
            tags.update(container.tags)
            band_groups.update(groups)
        return files, tags, band_groups

    def _rasters(
        self,
        files: Mapping[Path, Mapping[int, ContainerLayer]],
        unit: str,
        left_out: LeftOut,
    ) -> dict[str, Raster]:
        """Rasters with data by asset key, polarisations first."""
        rasters, empty = {}, []
        for path, layers in files.items():
            names = tuple(layers[number].name for number in sorted(layers))
            polarisations = tuple(name for name in names if name in POLARISATIONS)
            stated = (layer.nodata for layer in layers.values())
            nodata = next((value for value in (self.nodata, *stated) if value is not None), None)
            nodata = self.profile.nodata if nodata is None else nodata
            roles = ("data",) if polarisations else ("metadata",)
            raster = Raster(path, names, unit, roles, nodata)
            numbers = [names.index(name) + 1 for name in polarisations]
            if not polarisations or _is_usable(raster, numbers):
                rasters["-".join(polarisations).lower() or INCIDENCE] = raster
            else:
                empty.append(path)
        if set(rasters) <= {INCIDENCE}:
            raise UnusableError(NO_DATA, "")
        for path in empty:
            left_out.add(NO_DATA, str(path))
        return dict(sorted(rasters.items(), key=lambda pair: _rank(pair[0])))

    def _incidence(self, file_index: FileIndex) -> dict[str, Raster]:
        path = self._separate_file(self.profile.incidence, file_index)
        if path is None:
            return {}
        return {INCIDENCE: Raster(path, (INCIDENCE,), "degree", ("metadata",), self.nodata)}

    def _separate_file(
        self, angle: profiles.AngleLayer | None, file_index: FileIndex
    ) -> Path | None:
        pattern = None if angle is None else angle.file_pattern(self.groups)
        return None if pattern is None else file_index.find(pattern)

    def _mean_heading(self, file_index: FileIndex) -> float | None:
        """Circular mean of the raster of headings, degrees; None without one, or without data."""
        for layer in self._heading_layers(file_index):
            values = read_sample(layer.path, band=layer.number, nodata=layer.nodata)
            # no orbit leads due north; a heading of 0 marks missing pixels
            headings = np.radians(values[(np.abs(values) <= _TURN_DEG) & (values != 0.0)])
            if headings.size:
                east, north = np.mean(np.sin(headings)), np.mean(np.cos(headings))
                return float(np.degrees(np.arctan2(east, north)))
        return None

    def _heading_layers(self, file_index: FileIndex) -> list[ContainerLayer]:
        angle = self.profile.heading
        path = self._separate_file(angle, file_index)
        layers = [ContainerLayer(path, 1, "heading")] if path is not None else []
        if angle is not None and angle.band is not None:
            bands = (layer for file, _ in self.files for layer in open_container(file).layers)
            layers += [layer for layer in bands if re.fullmatch(angle.band, layer.name)]
        return layers

    def _scene(
        self,
        metadata: Mapping[MetadataField, str],
        rasters: Mapping[str, Raster],
        heading: float | None,
    ) -> Scene:
        first = next(iter(rasters.values())).path
        time, until = self.profile.parse_range(metadata, str(first))
        return Scene(
            id=self.name,
            time=time,
            until=until,
            quantity=profiles.check_quantity(metadata["quantity"], str(first)),
            rasters=rasters,
            platform=profiles.parse_platform(metadata.get("platform")),
            mode=profiles.parse_mode(metadata.get("mode")) or "IW",
            orbit_direction=self._orbit_direction(metadata, time, until, heading, first),
            relative_orbit=profiles.relative_orbit(metadata),
            heading_deg=heading,
            incidence_deg=profiles.incidence_deg(metadata),
            more=self._more(metadata),
        )

    def _more(self, metadata: Mapping[MetadataField, str]) -> dict[str, str]:
        """Other properties of the item: the burst, and the time of processing."""
        more = {"sarcast:burst": self.groups["burst"]} if "burst" in self.groups else {}
        processed = self.profile.parse_processed(metadata)
        if processed is not None:
            more[PROCESSED] = processed.isoformat().replace("+00:00", "Z")
        return more

    def _orbit_direction(
        self,
        metadata: Mapping[MetadataField, str],
        time: dt.datetime,
        until: dt.datetime | None,
        heading: float | None,
        raster: Path,
    ) -> str | None:
        """As specified, or derived from the heading, or from time of day and longitude."""
        direction = profiles.parse_orbit_direction(metadata.get("orbit_direction"))
        if direction is not None:
            return direction
        if heading is not None:
            return orbits.direction_of(heading)
        if until is not None:
            return None
        longitude = grid_of(raster).extent.centroid.to_crs("EPSG:4326").coords[0][0]
        return orbits.orbit_direction(time, longitude)


def _name_layers(
    path: Path, layers: Sequence[ContainerLayer], band: str | None, profile: SceneProfile
) -> tuple[list[ContainerLayer], dict[str, str]]:
    """Layers renamed to their bands, and the other named groups of their original names."""
    if band is not None and sum(not layer.is_mask for layer in layers) == 1:
        return [
            replace(layer, name=f"other {layer.number}" if layer.is_mask else band.upper())
            for layer in layers
        ], {}
    polarisations, groups = _match_polarisations(layers, profile)
    if not polarisations:
        raise UnusableError(
            UNKNOWN_BANDS,
            f"the polarisations of {path} are unknown: expected a name ending in _VV or _VH, or "
            f"bands described as VV and VH, found {len(layers)} bands described as "
            f"{tuple(layer.name for layer in layers)}",
        )
    angle = profile.incidence.band if profile.incidence else None
    renamed = []
    for index, layer in enumerate(layers):
        is_angle = angle is not None and re.fullmatch(angle, layer.name)
        name = polarisations.get(index) or (INCIDENCE if is_angle else f"other {layer.number}")
        if layer.path == path or not name.startswith("other"):
            renamed.append(replace(layer, name=name))
    return renamed, groups


def _match_polarisations(
    layers: Sequence[ContainerLayer], profile: SceneProfile
) -> tuple[dict[int, str], dict[str, str]]:
    """Polarisation by index of the layer, from the first pattern that matches each at most once."""
    for pattern in profile.bands:
        matches = {
            index: match
            for index, layer in enumerate(layers)
            if (match := re.fullmatch(pattern, layer.name))
        }
        names = {index: match["band"].upper() for index, match in matches.items()}
        if names and len(set(names.values())) == len(names):
            groups = next(iter(matches.values())).groupdict()
            return names, {key: text for key, text in groups.items() if text and key != "band"}
    return {}, {}


def _rank(key: str) -> int:
    """Order of an asset key: by its first polarisation, angles last."""
    first = key.partition("-")[0].upper()
    return POLARISATIONS.index(first) if first in POLARISATIONS else len(POLARISATIONS)


def _is_usable(raster: Raster, numbers: Sequence[int]) -> bool:
    """Check that the bands of a raster can be read and are in its unit; False without data."""
    filled = False
    for number in numbers:
        values = sample_backscatter(raster.path, number, raster.nodata)
        if any_data(values):
            check_values(str(raster.path), values, raster.unit)
            filled = True
    return filled or any(has_data(raster.path, number, raster.nodata) for number in numbers)


def sample_backscatter(path: Path, number: int, nodata: float | None) -> Float:
    """Read a sample of a band of backscatter, as ``read_sample``.

    Raises
    ------
    UnusableError
        If it is complex.
    """
    try:
        return read_sample(path, band=number, nodata=nodata)
    except ComplexRasterError as error:
        raise UnusableError(COMPLEX, str(error)) from error


def check_values(source: str, values: Float, unit: str) -> None:
    """Check that values are plausible in the declared unit.

    Raises
    ------
    UnusableError
        If they are evidently in another unit, or more than half of them are impossible.
    """
    fault = implausible(values, unit)
    if fault is not None:
        raise UnusableError(OTHER_UNIT, f"{source} {fault}")
