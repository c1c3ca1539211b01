"""``sarcast bench``: networks, strategies and oracle on a fixed set of synthetic windows."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field

import sarcast
from sarcast.commands.config import FLAT, Config, command, write_record
from sarcast.commands.model_options import Computed, Context
from sarcast.evaluation.benchmark import BenchOptions, run_bench
from sarcast.evaluation.report.html import write_report
from sarcast.evaluation.report.tables import markdown, show_table
from sarcast.io.files import new_folder
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, load_models
from sarcast.sensor.conditions import WEATHER
from sarcast.windows import Predictor
from sarcast.windows.masking import MaskedPredictor

_log = logging.getLogger(__name__)


class BenchConfig(Config):
    """Options of ``sarcast bench``."""

    to: Path = Field(description="Folder for evaluation.json, tables.md and report.html.")
    model: tuple[Path, ...] = Field(
        (), description="Model folder, or 'base' for the shipped weights; may be repeated."
    )
    precision: Computed = DEFAULT_PRECISION
    context: Context = DEFAULT_CONTEXT
    without_weather: bool = Field(False, description="Also evaluate each model without weather.")
    name: str = Field("boreal-2", description="Name and version of the bench.")
    running: Annotated[BenchOptions, FLAT] = Field(default_factory=BenchOptions)
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


def bench(*, config: Annotated[BenchConfig, FLAT]) -> None:
    """Compare networks with the strategies and the oracle on windows never used in training."""
    with new_folder(config.to, overwrite=config.overwrite, inputs=config.model) as folder:
        models = load_models(
            config.model, device="cpu", precision=config.precision, context=config.context
        )
        if models:
            config = config.model_copy(update={"precision": models[0].precision})
        networks: list[Predictor] = [*models]
        if config.without_weather:
            networks += [
                MaskedPredictor(network, WEATHER, f"{network.name} without weather")
                for network in networks
            ]
        provenance = {"command": command("bench", (), config), "sarcast": sarcast.__version__}
        evaluation = run_bench(config.name, networks, config.running, provenance)
        evaluation.write(folder / "evaluation.json")
        (folder / "tables.md").write_text(markdown(evaluation), encoding="utf-8")
        write_report(evaluation, (), folder / "report.html")
        write_record(folder, "bench", {}, config)
    show_table(evaluation)
    _log.info(f"report: {config.to / 'report.html'}")
