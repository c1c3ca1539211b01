"""Builds in separate processes, which tests and benchmarks kill."""

import multiprocessing
from multiprocessing.process import BaseProcess
from pathlib import Path

from sarcast.cube import CubeOptions, Sources, build_cube
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.progress import show_progress
from sarcast.io.rasters import grid_of

_SERVER = multiprocessing.get_context("forkserver")  # imports once, and has no threads
_SERVER.set_forkserver_preload(
    ["sarcast.cube", "sarcast.ingest.scenes.index", "sarcast.io.rasters"]
)


def start_build(scenes: Path, target: Path) -> BaseProcess:
    """Start to build a cube from a folder of scenes, on the grid of the first."""
    process = _SERVER.Process(target=_build, args=(scenes, target), daemon=True)
    process.start()
    return process


def _build(scenes: Path, target: Path) -> None:
    show_progress(False)
    items = list(find_items([scenes], IndexOptions()))
    grid = grid_of(min(scenes.glob("*.tif")))
    build_cube(items, target, grid, CubeOptions(), Sources())
