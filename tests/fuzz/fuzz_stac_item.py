"""Mutated STAC items beside rasters, added to a catalogue that a cube is then planned from."""

import json
from pathlib import Path

from sarcast.catalogue import FolderCatalogue
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import normalise_items

from .harness import AcceptedError, Call, Kind
from .mutate import Rng, as_json, mutate_tree
from .seeds import TIMES, items_of, link_all, write_scene


class StacItem(Kind):
    """JSON of one item, or of a collection of two of which one is mutated.

    The names of the rasters match no profile, so that a scene is found by its item alone.
    """

    name = "stac-item"

    def prepare(self) -> None:
        scenes = self.seeds / "scenes"
        for number, time in enumerate(TIMES[:2]):
            write_scene(scenes, time, number)
        items = items_of(scenes)
        for number, item in enumerate(items):
            for key, asset in item["assets"].items():
                named = f"./{number}-{'co' if key == 'vv' else 'cross'}.tif"
                (scenes / asset["href"]).rename(scenes / named)
                asset["href"] = named
        (self.seeds / "items.json").write_text(json.dumps(items))

    def case(self, folder: Path, rng: Rng) -> Call:
        items = json.loads((self.seeds / "items.json").read_text())
        items[0] = mutate_tree(items[0], rng)
        content = items[0]
        if rng.integers(3) == 0:
            content = {"type": "FeatureCollection", "features": items}
        (folder / "in").mkdir()
        link_all(self.seeds / "scenes", folder / "in")
        (folder / "in" / "item.json").write_bytes(as_json(content, rng))
        if rng.integers(20) == 0:
            return ["index", "in/item.json", "--to", "out"]
        return _index_and_plan


def _index_and_plan() -> None:
    add_scenes((Path("in"),), "out", IndexOptions())
    try:
        items = FolderCatalogue("out").search()
        normalise_items(items, scene_profiles(()))
    except SarcastError as error:
        raise AcceptedError(f"poisoned catalogue: {str(error)[:80]}") from error
