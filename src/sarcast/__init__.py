"""Expected Sentinel-1 images under their own acquisition conditions, and what truly changed.

Public names are loaded when they are first used, so that ``import sarcast`` stays light.
"""

from sarcast.lazy import lazy_names

__version__ = "0.1.0.dev0"

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

__getattr__ = lazy_names(
    __name__,
    {
        "api": ("classify", "difference", "evaluate", "simulate_change"),
        "cube": ("build_cube", "open_cube"),
        "detection.detect": ("detect",),
        "errors": ("SarcastError",),
        "io.progress": ("show_progress",),
        "monitoring.monitor": ("monitor",),
        "prediction": ("load_model",),
        "prediction.predict": ("predict",),
        "viewer.widget": ("view",),
    },
)


def __dir__() -> list[str]:
    return __all__
