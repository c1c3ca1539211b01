"""Expected Sentinel-1 images under their own acquisition conditions, and what truly changed.

Public names are loaded when they are first used, so that ``import sarcast`` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "SarcastError": "errors",
    "open_cube": "cube",
    "build_cube": "cube",
    "load_model": "prediction",
    "predict": "prediction.predict",
    "detect": "detection.detect",
    "monitor": "monitoring.monitor",
    "show_progress": "io.progress",
    "difference": "api",
    "classify": "api",
    "evaluate": "api",
    "simulate_change": "api",
    "view": "viewer.widget",
}

__all__ = [
    "SarcastError",
    "__version__",
    "build_cube",
    "classify",
    "detect",
    "difference",
    "evaluate",
    "load_model",
    "monitor",
    "open_cube",
    "predict",
    "show_progress",
    "simulate_change",
    "view",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sarcast' has no attribute {name!r}")
    return getattr(import_module(f"sarcast.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
