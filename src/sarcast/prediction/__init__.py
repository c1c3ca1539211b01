"""The expected image: networks, their training, model folders, conventional strategies."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sarcast.prediction.model import Model
    from sarcast.prediction.model_folder import load_model, load_models, save_model

__all__ = [
    "DEFAULT_CONTEXT",
    "DEFAULT_PRECISION",
    "ContextSource",
    "Model",
    "NumberFormat",
    "Precision",
    "load_model",
    "load_models",
    "save_model",
]

NumberFormat = Literal["float32", "bfloat16"]
"""Number format of the convolutions."""
Precision = Literal["auto", "float32", "bfloat16"]
"""Number format, or ``"auto"`` for the one that the device computes fastest in."""
DEFAULT_PRECISION: Precision = "auto"
ContextSource = Literal["scene", "none"]
"""Whether a network that uses scene context reads it from the target, or not at all."""
DEFAULT_CONTEXT: ContextSource = "scene"

_HOMES = {
    "Model": "model",
    "load_model": "model_folder",
    "load_models": "model_folder",
    "save_model": "model_folder",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that torch is not loaded before."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
