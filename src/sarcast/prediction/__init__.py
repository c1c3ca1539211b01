"""The expected image: networks, their training, model folders, conventional strategies."""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sarcast.prediction.model import Model, load_model, load_models, save_model

__all__ = ["DEFAULT_PRECISION", "Model", "Precision", "load_model", "load_models", "save_model"]

Precision = Literal["float32", "bfloat16"]
"""Number format of the convolutions."""
DEFAULT_PRECISION: Precision = "float32"


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that torch is not loaded before."""
    if name in __all__:
        from sarcast.prediction import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
