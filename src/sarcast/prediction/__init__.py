"""The mapping transformation function: networks, their training, and model folders."""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sarcast.prediction.model import Model, load_model, load_models, save_model

__all__ = ["Model", "Precision", "load_model", "load_models", "save_model"]

Precision = Literal["float32", "bfloat16"]
"""Numbers that convolutions are computed with."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that torch is not loaded before."""
    if name in __all__:
        from sarcast.prediction import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
