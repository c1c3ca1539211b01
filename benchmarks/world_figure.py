"""Draw the figure of docs/explanation/world.md: one synthetic area under different conditions.

python -m benchmarks.world_figure docs/img/world.png
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import torch

from sarcast.world import backscatter, changes, ground, parcels, presets, sensor, views
from sarcast.world.backscatter import Observations, World
from sarcast.world.weather import States

PIXELS, SPACING_M = 400, 10.0
DAY = 2380.0
PRESET = dataclasses.replace(
    presets.BOREAL,
    mixture=(0.52, 0.10, 0.16, 0.05, 0.09, 0.06, 0.02),
    mixture_spread=(0.0, 0.0),
    relief_m=(70.0, 70.0),
)
WARM = {"temperature": 14.0, "summer": 0.9}
COLD = {"temperature": -9.0, "frozen_canopy": 1.0, "frozen_soil": 1.0, "dry_snow": 0.6}
PANELS: tuple[tuple[str, Mapping[str, float], bool, float], ...] = (
    ("ascending, looks east, dry", WARM, True, DAY),
    ("descending, looks west, dry", WARM, False, DAY),
    ("ascending, after rain", {**WARM, "wet": 0.9}, True, DAY),
    ("ascending, frozen, dry snow", COLD, True, DAY),
    ("ascending, wet snow", {"temperature": 3.0, "wet_snow": 1.0}, True, DAY),
    ("ascending, after the outlined clear-cut", WARM, True, DAY + 150.0),
)


def main() -> None:
    """Draw the figure and write it."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rng = torch.Generator().manual_seed(11)
    with torch.inference_mode():
        world = make(rng)
        images = [image(world, *panel[1:], rng=rng) for panel in PANELS]
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 7.3), layout="constrained")
    for axis, (title, *_), picture in zip(axes.flat, PANELS, images, strict=True):
        shown = axis.imshow(
            picture[0], cmap="gray", vmin=-20.0, vmax=-3.0, extent=(0, 4, 0, 4), origin="upper"
        )
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(5), range(5), fontsize=7)
        axis.set_yticks(range(5), range(5), fontsize=7)
    outline = world.changes.masks[0].any(0).flip(0)
    for axis in (axes.flat[0], axes.flat[5]):
        axis.contour(outline, levels=[0.5], colors="#ffb000", linewidths=0.8, extent=(0, 4, 0, 4))
    figure.colorbar(shown, ax=axes, shrink=0.6, label="VV, sigma nought, dB")
    figure.supxlabel("km", fontsize=8)
    figure.savefig(sys.argv[1], dpi=80)
    print(f"{sys.argv[1]}: {Path(sys.argv[1]).stat().st_size / 1e6:.2f} MB")


def make(rng: torch.Generator) -> World:
    """Draw the area, with a clear-cut of 50 hectares."""
    parameters = presets.draw(PRESET, 1, rng=rng)
    land = ground.draw(parameters, (PIXELS, PIXELS), SPACING_M, rng=rng)
    day = torch.tensor([DAY + 1.0], dtype=torch.float64)
    calendar = parcels.draw(land, parameters, day, rng=rng)
    block = torch.zeros(1, 1, PIXELS, PIXELS, dtype=torch.bool)
    block[..., 215:285, 185:260] = True
    kind = torch.tensor([[changes.NAMES.index("clear-cut")]])
    felled = changes.Changes(kind, day[:, None], block & (land.cover == 0)[:, None])
    return World(parameters, land, calendar, felled)


def image(
    world: World,
    weather: Mapping[str, float],
    ascending: bool,
    time: float,
    *,
    rng: torch.Generator,
) -> torch.Tensor:
    """Simulate one filtered image of the area, dims (band, y, x), dB."""
    ones = torch.ones(1, 1)
    states = States(
        **{
            field.name: weather.get(field.name, 0.0) * ones
            for field in dataclasses.fields(States)
            if field.name not in ("wet", "precipitation")
        },
        wet=weather.get("wet", 0.05) * ones[..., None, None],
        precipitation=torch.zeros(1, 1, 4, 1, 1),
    )
    heading = -17.0 if ascending else -163.0
    day = torch.full((1, 1), time, dtype=torch.float64)
    view = views.Views(
        day, ones.long() * 0, ones.bool() & ascending, ones.long(), 38.0 * ones, heading * ones
    )
    angle = views.smooth_incidence(
        view.incidence_deg, view.heading_deg, (PIXELS, PIXELS), SPACING_M
    )
    observed = Observations(view, states, angle, day)
    unmodelled = backscatter.draw_unmodelled(world, 1, rng=rng)
    power = sensor.observe(
        backscatter.expected(world, observed, unmodelled=unmodelled),
        world.parameters,
        ["lee"],
        rng=rng,
    )
    return 10.0 * torch.log10(power[0, 0])


if __name__ == "__main__":
    main()
