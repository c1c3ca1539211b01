"""Train by a recipe: ``python -m benchmarks.school recipes/base-first.yaml --to models/first``."""

import argparse
import json
from pathlib import Path

import xarray as xr
import yaml

from sarcast.prediction.training.recipe import Recipe, school


def main() -> None:
    """Read the recipe, open the cubes that it names, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="model folder")
    parser.add_argument("--cubes", type=Path, help="folder of the real series, NAME.nc each")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace an option of the training, such as minutes=12 or devices=2",
    )
    parser.add_argument(
        "--from", dest="start", type=Path, help="model folder whose weights training starts from"
    )
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe, options.set)
    cubes = read_cubes(options.cubes) if recipe.series and options.cubes else {}
    model = school(
        recipe, to=options.to, cubes=cubes, start=options.start, overwrite=options.overwrite
    )
    print(json.dumps({key: model.training[key] for key in ("steps", "best_step", "seconds")}))
    print(model.scores)


def read_cubes(folder: Path) -> dict[str, xr.Dataset]:
    """Read all cubes of a folder, NAME.nc each, by their names."""
    return {path.stem: xr.open_dataset(path).load() for path in sorted(folder.glob("*.nc"))}


def read_recipe(path: Path, changes: list[str]) -> Recipe:
    """Read a recipe and replace single options of its training."""
    content = yaml.safe_load(path.read_text())
    for change in changes:
        key, value = change.split("=", maxsplit=1)
        content.setdefault("training", {})[key] = yaml.safe_load(value)
    return Recipe.model_validate(content)


if __name__ == "__main__":
    main()
