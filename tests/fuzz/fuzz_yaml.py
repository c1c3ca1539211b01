"""Mutated YAML: ``--config`` of the verbs, recipes, profiles of sources."""

from importlib.resources import files
from pathlib import Path

import yaml

import sarcast
from sarcast.commands.config import write_record
from sarcast.commands.cube import CubeConfig
from sarcast.commands.detect import DetectConfig
from sarcast.commands.evaluate import EvaluateConfig
from sarcast.commands.index import IndexConfig
from sarcast.commands.predict import PredictConfig
from sarcast.commands.rtc import RtcConfig
from sarcast.ingest.cover import CoverTable
from sarcast.ingest.profiles import read_profile
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.weather import WeatherOptions, read_weather
from sarcast.prediction.training.recipe import read_recipe

from .fuzz_netcdf import AT, DATES, dataset
from .harness import Call, Kind
from .mutate import Rng, as_yaml, mutate_tree
from .seeds import TIMES, link_all, write_scene

NOWHERE = "nowhere"
"""An input that does not exist, so that no verb begins to work."""


class Yaml(Kind):
    """A file of one of the three uses of YAML."""

    name = "yaml"

    def prepare(self) -> None:
        to = Path("out")
        configs = {
            "index": IndexConfig(to="out"),
            "cube": CubeConfig(to=to, dem=("a.tif",), area="26,62,27,63"),
            "detect": DetectConfig(model=Path("mean"), to=to),
            "evaluate": EvaluateConfig(to=to),
            "predict": PredictConfig(model=Path("base"), at="2020-01-01", to=to),
            "rtc": RtcConfig(to=to, dem=("a.tif",)),
        }
        for verb, config in configs.items():
            folder = self.seeds / "config" / verb
            folder.mkdir(parents=True)
            write_record(folder, verb, {}, config)
        profiles = Path(str(files(sarcast))) / "ingest" / "profiles"
        for kind in ("scenes", "weather", "cover"):
            (self.seeds / kind).mkdir()
            for path in (profiles / kind).glob("*.yaml"):
                (self.seeds / kind / path.name).write_bytes(path.read_bytes())
        (self.seeds / "recipe").mkdir()
        for path in (Path(__file__).parents[2] / "recipes").glob("*.yaml"):
            (self.seeds / "recipe" / path.name).write_bytes(path.read_bytes())
        write_scene(self.seeds / "rasters", TIMES[0])
        dataset().to_netcdf(self.seeds / "weather.nc", engine="scipy")

    def case(self, folder: Path, rng: Rng) -> Call:
        uses = ("config", "recipe", "recipe", "scenes", "weather", "cover")
        use = uses[rng.integers(len(uses))]
        paths = sorted(path for path in (self.seeds / use).rglob("*.yaml"))
        path = paths[rng.integers(len(paths))]
        tree = yaml.load(path.read_bytes(), yaml.CSafeLoader)
        (folder / "x.yaml").write_bytes(as_yaml(mutate_tree(tree, rng), rng))
        if use == "config":
            return [path.parent.name, NOWHERE, "--config", "x.yaml"]
        if use == "recipe":
            return lambda: read_recipe(Path("x.yaml"))
        if use == "scenes":
            (folder / "in").mkdir()
            link_all(self.seeds / "rasters", folder / "in")
            options = IndexOptions(profile=("x.yaml",))
            return lambda: find_items([Path("in")], options, unpack_to=Path("out"))
        if use == "weather":
            weather = str(self.seeds / "weather.nc")
            options = WeatherOptions(weather_profile=("x.yaml",))
            return lambda: read_weather(weather, AT, DATES, options)
        return lambda: read_profile(CoverTable, Path("x.yaml"))
