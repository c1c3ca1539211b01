"""A product: the files of one scene on disk, made into a scene by what its profile tells."""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sarcast.arrays import Float
from sarcast.catalogue.scene import BANDS, INCIDENCE, Raster, Scene
from sarcast.errors import SarcastError
from sarcast.ingest.scenes import profile as profiles
from sarcast.ingest.scenes.containers import ContainerLayer, open_container
from sarcast.ingest.scenes.profile import Fact, SceneProfile
from sarcast.io.rasters import any_data, grid_of, has_data, read_sample
from sarcast.sensor import orbits, units

_log = logging.getLogger(__name__)


class Nearby:
    """Files that lie near a product, found by their names; each expression is looked for once."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = sorted(files, key=lambda path: path.name)
        self._found: dict[str, Path | None] = {}

    def find(self, pattern: re.Pattern[str]) -> Path | None:
        """The first file whose whole name fits; None if there is none."""
        if pattern.pattern not in self._found:
            fitting = (path for path in self._files if pattern.fullmatch(path.name))
            self._found[pattern.pattern] = next(fitting, None)
        return self._found[pattern.pattern]


@dataclass
class RasterProduct:
    """Files of one scene.

    Attributes
    ----------
    name
        Id of the scene.
    profile
        The profile that knows the files.
    groups
        What the names of the files tell.
    files
        Each file, with the polarisation that its name tells, if it does.
    """

    name: str
    profile: SceneProfile
    groups: dict[str, str]
    files: list[tuple[Path, str | None]] = field(default_factory=list)

    def to_scene(self, declared: Mapping[Fact, str], nearby: Nearby) -> Scene | None:
        """Make the scene, and see that its rasters can be read.

        Parameters
        ----------
        declared
            Unit and quantity that the user declares; they go before what the profile tells.
        nearby
            All files that were found, for the incidence angles that belong to the scene.

        Returns
        -------
        Scene or None
            None, which is said, if no pixel of the files holds data.

        Raises
        ------
        SarcastError
            If a file cannot be read, has no CRS, does not tell its bands, unit, quantity or time,
            or holds another unit than declared.
        """
        bands, tags, told_by_bands = self._bands()
        told = self.profile.read({**self.groups, **told_by_bands}, tags) | dict(declared)
        place = str(self.files[0][0])
        if "unit" not in told or "quantity" not in told:
            raise SarcastError(
                f"{place}: the name tells neither unit nor quantity; "
                f"declare them with --unit 'linear power' or dB, and --quantity gamma0 or sigma0"
            )
        unit = profiles.check_unit(told["unit"], place)
        rasters = self._rasters(bands, unit)
        if not rasters:
            return None
        heading = profiles.heading_deg(told)
        heading = self._heading(nearby) if heading is None else heading
        return self._scene(told, {**rasters, **self._incidence(nearby)}, heading)

    def _bands(
        self,
    ) -> tuple[dict[Path, dict[int, ContainerLayer]], dict[str, str], dict[str, str]]:
        """Layers by file and number, each under the name of its band; and what tells facts."""
        files: dict[Path, dict[int, ContainerLayer]] = {}
        tags: dict[str, str] = {}
        told: dict[str, str] = {}
        for path, band in self.files:
            container = open_container(path)
            named, groups = _named(path, container.layers, band, self.profile)
            for layer in named:
                files.setdefault(layer.path, {})[layer.number] = layer
            tags.update(container.tags)
            told.update(groups)
        return files, tags, told

    def _rasters(
        self, files: Mapping[Path, Mapping[int, ContainerLayer]], unit: str
    ) -> dict[str, Raster]:
        """Rasters by asset key, those without any data left out; none if no backscatter is left."""
        rasters = {}
        for path, layers in files.items():
            held = tuple(layers[number].name for number in sorted(layers))
            seen = tuple(band for band in held if band in BANDS)
            told = next((x.nodata for x in layers.values() if x.nodata is not None), None)
            nodata = self.profile.nodata if told is None else told
            raster = Raster(path, held, unit, ("data",) if seen else ("metadata",), nodata)
            if not seen or _usable(raster, held.index(seen[0]) + 1):
                rasters["-".join(seen).lower() or INCIDENCE] = raster
        if set(rasters) <= {INCIDENCE}:
            return {}
        return dict(sorted(rasters.items(), reverse=True))

    def _incidence(self, nearby: Nearby) -> dict[str, Raster]:
        path = self._beside(self.profile.incidence, nearby)
        return (
            {} if path is None else {INCIDENCE: Raster(path, (INCIDENCE,), "degree", ("metadata",))}
        )

    def _beside(self, angle: profiles.AngleLayer | None, nearby: Nearby) -> Path | None:
        pattern = None if angle is None else angle.file_pattern(self.groups)
        return None if pattern is None else nearby.find(pattern)

    def _heading(self, nearby: Nearby) -> float | None:
        """Mean of the raster of headings; None if there is none, or nothing in it."""
        angle = self.profile.heading
        path = self._beside(angle, nearby)
        layers = [ContainerLayer(path, 1, "heading")] if path is not None else []
        if angle is not None and angle.band is not None:
            held = (layer for file, _ in self.files for layer in open_container(file).layers)
            layers += [layer for layer in held if re.fullmatch(angle.band, layer.name)]
        for layer in layers:
            told = np.radians(read_sample(layer.path, band=layer.number, nodata=layer.nodata))
            if np.isfinite(told).any():
                return float(
                    np.degrees(np.arctan2(np.nanmean(np.sin(told)), np.nanmean(np.cos(told))))
                )
        return None

    def _scene(
        self, told: Mapping[Fact, str], rasters: Mapping[str, Raster], heading: float | None
    ) -> Scene:
        first = next(iter(rasters.values())).path
        if "time" not in told:
            raise SarcastError(f"{first} does not tell its time; see that its profile finds it")
        time = self.profile.time(told["time"])
        direction = profiles.orbit_direction(told.get("orbit_direction"))
        if direction is None and heading is not None:
            direction = orbits.direction_of(heading)
        elif direction is None and self.profile.tells_hours:
            longitude = grid_of(first).extent.centroid.to_crs("EPSG:4326").coords[0][0]
            direction = orbits.orbit_direction(time, longitude)
        return Scene(
            id=self.name,
            time=time,
            quantity=profiles.check_quantity(told["quantity"], str(first)),
            rasters=rasters,
            platform=profiles.platform(told.get("platform")),
            orbit_direction=direction,
            relative_orbit=profiles.relative_orbit(told),
            heading_deg=heading,
            incidence_deg=profiles.incidence_deg(told),
            more={"sarcast:burst": self.groups["burst"]} if "burst" in self.groups else {},
        )


def _named(
    path: Path, layers: Sequence[ContainerLayer], band: str | None, profile: SceneProfile
) -> tuple[list[ContainerLayer], dict[str, str]]:
    """Layers under the names of their bands, and what their own names tell."""
    if band is not None and len(layers) == 1:
        return [replace(layers[0], name=band.upper())], {}
    matched, told = _liked_best(layers, profile)
    if not matched:
        raise SarcastError(
            f"{path} does not tell its polarisations: expected a name ending in _VV or _VH, or "
            f"bands described as VV and VH, found {len(layers)} bands described as "
            f"{tuple(layer.name for layer in layers)}"
        )
    angle = profile.incidence.band if profile.incidence else None
    named = []
    for place, layer in enumerate(layers):
        is_angle = angle is not None and re.fullmatch(angle, layer.name)
        name = matched.get(place) or (INCIDENCE if is_angle else f"other {layer.number}")
        if layer.path == path or not name.startswith("other"):
            named.append(replace(layer, name=name))
    return named, told


def _liked_best(
    layers: Sequence[ContainerLayer], profile: SceneProfile
) -> tuple[dict[int, str], dict[str, str]]:
    """Polarisation by place, of the first pattern that matches, each polarisation once."""
    for pattern in profile.bands:
        found = {
            place: match
            for place, layer in enumerate(layers)
            if (match := re.fullmatch(pattern, layer.name))
        }
        names = {place: match["band"].upper() for place, match in found.items()}
        if names and len(set(names.values())) == len(names):
            groups = next(iter(found.values())).groupdict()
            return names, {k: word for k, word in groups.items() if word and k != "band"}
    return {}, {}


def _usable(raster: Raster, number: int) -> bool:
    """See that a raster can be read and is in its unit; False, and said, if it holds no data."""
    values = read_sample(raster.path, band=number, nodata=raster.nodata)
    if not any_data(values) and not has_data(raster.path, number, raster.nodata):
        _log.warning(f"{raster.path} is left out: it holds no data, every pixel is 0 or missing")
        return False
    check_values(str(raster.path), values, raster.unit)
    return True


def check_values(place: str, values: Float, unit: str) -> None:
    """See that values can be of the unit declared.

    Raises
    ------
    SarcastError
        If they are clearly those of another unit, or half of them are more than can be.
    """
    seen = units.guess_unit(values)
    kind = units.LINEAR_POWER if unit == units.AMPLITUDE else unit
    if seen is not None and seen != kind:
        raise SarcastError(
            f"{place} is declared in {unit}, but its values are those of {seen}; "
            f"declare it with --unit '{seen}'"
        )
    known = values[np.isfinite(values)]
    if not known.size:
        return
    middle = float(np.median(known))
    if _level_db(middle, unit) > units.CEILING_DB:
        raise SarcastError(
            f"{place} is declared in {unit}, but half of its values are {middle:g} or more, more "
            f"than backscatter can be; see what the file holds, or declare what marks missing "
            f"values as nodata in a profile"
        )
    negative = np.mean(known < 0.0)
    if unit != units.DB and negative > 0.5:
        raise SarcastError(
            f"{place} is declared in {unit}, which is never negative, but {100 * negative:.0f} % "
            f"of its values are; see what the file holds"
        )


def _level_db(value: float, unit: str) -> float:
    """A value of backscatter in decibels; what is no power has none."""
    if unit == units.DB:
        return value
    factor = 20.0 if unit == units.AMPLITUDE else 10.0
    return factor * math.log10(value) if value > 0.0 else -math.inf
