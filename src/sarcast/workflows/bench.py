"""``sarcast bench``: networks beside strategies and oracle on a fixed set of synthetic windows."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.bench import BenchOptions, run_bench
from sarcast.config import FLAT, Config, write_record
from sarcast.files import new_folder
from sarcast.mapping import load_model
from sarcast.progress import say
from sarcast.report import write_report
from sarcast.tables import markdown, show_table


class BenchConfig(Config):
    """Options of ``sarcast bench``."""

    to: Path = Field(description="Folder for evaluation.json, tables.md and report.html.")
    model: tuple[Path, ...] = Field(
        (), description="Model folder, or 'base' for the shipped weights; may be repeated."
    )
    name: str = Field("boreal-1", description="Name and version of the bench.")
    running: Annotated[BenchOptions, FLAT] = Field(default_factory=BenchOptions)
    overwrite: bool = Field(False, description="Replace the folder if it is there.")


def bench(*, config: Annotated[BenchConfig, FLAT]) -> None:
    """Compare networks with the strategies and the oracle on windows that no training saw."""
    with new_folder(config.to, overwrite=config.overwrite, inputs=config.model) as folder:
        networks = [load_model(path, device="cpu") for path in config.model]
        evaluation = run_bench(config.name, networks, config.running)
        evaluation.write(folder / "evaluation.json")
        (folder / "tables.md").write_text(markdown(evaluation), encoding="utf-8")
        write_report(evaluation, (), folder / "report.html")
        write_record(folder, "bench", {}, config)
    show_table(evaluation)
    say(f"report: {config.to / 'report.html'}")
