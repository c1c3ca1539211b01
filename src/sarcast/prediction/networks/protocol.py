"""What every network is to training, model folders and inference."""

from typing import Any, ClassVar, NamedTuple, Protocol, Self

from torch import Tensor


class Prediction(NamedTuple):
    """What a network tells of the expected image.

    Attributes
    ----------
    mean
        Dims (window, band, y, x), dB.
    log_variance
        Dims (window, band, y, x), natural logarithm of dB²; None from a network without.
    usual
        Dims (window, band, 1, 1), dB²: variance over the previous images, which errors are weighed
        by in training; None from a network that weighs none.
    """

    mean: Tensor
    log_variance: Tensor | None = None
    usual: Tensor | None = None


class Network(Protocol):
    """A ``torch.nn.Module`` that predicts expected images of ``windows.Batch`` inputs.

    ``kind`` names it in ``model.yaml``; ``compiled`` are the modules in it that gain from being
    compiled; ``multiple`` is what it pads rows and columns to a multiple of; ``least`` is how many
    windows it must see at once in training; ``options`` are its own, a pydantic model; ``ignored``
    are the conditions that count as missing. ``size`` and ``previous`` are as in
    ``windows.Predictor``. For ``TrainOptions.contrast`` it also has ``contrast``, as in
    ``temporal.Temporal``.
    """

    kind: ClassVar[str]
    compiled: ClassVar[tuple[type, ...]]
    multiple: ClassVar[int]
    least: ClassVar[int]
    size: int | None
    previous: int | None
    options: Any
    ignored: tuple[str, ...]

    def forward(
        self,
        previous: Tensor,
        elevation: Tensor,
        conditions: Tensor,
        days: Tensor,
        day_of_year: Tensor,
    ) -> Prediction:
        """Predict the expected image; arguments as in ``windows.Batch``."""
        ...

    def loss(self, prediction: Prediction, target: Tensor, goal: Tensor | None = None) -> Tensor:
        """Give what training makes small; NaN of the target is ignored.

        ``goal`` is what the mean is drawn to, where that is not the target itself.
        """
        ...

    def normalisation(self) -> dict[str, Any]:
        """Give what else is needed to build it again, for ``model.yaml``."""
        ...

    @classmethod
    def build(cls, options: dict[str, Any], normalisation: dict[str, Any]) -> Self:
        """Make the network that ``model.yaml`` describes, its weights still random."""
        ...
