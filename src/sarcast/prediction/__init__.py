"""The expected image: networks, their training, model folders, conventional strategies."""

from typing import TYPE_CHECKING, Literal

from sarcast.lazy import lazy_names

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

# torch is not loaded before
__getattr__ = lazy_names(
    __name__, {"model": ("Model",), "model_folder": ("load_model", "load_models", "save_model")}
)
