"""Predictors by their names: model folders, the shipped weights, conventional strategies."""

from pathlib import Path

from sarcast.errors import SarcastError
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, ContextSource, Precision
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import Predictor


def load_predictor(
    model: Path,
    *,
    precision: Precision = DEFAULT_PRECISION,
    context: ContextSource = DEFAULT_CONTEXT,
) -> Predictor:
    """Load a model folder, or a conventional strategy by its name.

    Parameters
    ----------
    model
        Model folder, ``base`` for the shipped weights, or the name of a strategy.
    precision, context
        As in ``load_model``.

    Raises
    ------
    SarcastError
        If it is neither.
    """
    if str(model) in STRATEGIES and not model.exists():
        return STRATEGIES[str(model)]
    from sarcast.prediction.model_folder import SHIPPED, load_model  # brings torch

    if not model.exists() and str(model) not in SHIPPED:
        raise SarcastError(
            f"{model} does not exist: expected a model folder, base for the shipped weights, or a "
            f"strategy: {', '.join(STRATEGIES)}"
        )
    return load_model(model, precision=precision, context=context)
