"""The result of an evaluation, as it is kept in ``evaluation.json``."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.errors import SarcastError
from sarcast.io.files import new_file

Role = Literal["strategy", "network", "oracle"]
"""What a method is: a conventional strategy, a network, or the limit that a world knows."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Curve(_Record):
    """Points of a ROC curve."""

    false_alarm_rate: tuple[float, ...]
    detection_rate: tuple[float, ...]


class MethodResult(_Record):
    """What one expected image reached under one kind of change, with one difference image."""

    method: str = Field(description="name of the predictor")
    role: Role = Field(description="what the predictor is")
    change: str = Field(description="name of the simulated change")
    difference: str = Field(description="difference image that was scored, as 'norm' or 'z'")
    auc: float = Field(ge=0, le=1, description="area under the ROC curve over all pixels")
    auc_low: float | None = Field(None, description="lower end of its 95 % interval")
    auc_high: float | None = Field(None, description="upper end of the same")
    auc_windows: tuple[float | None, ...] = Field(
        default=(), description="the same for each window; null where nothing changed"
    )
    average_precision: float = Field(ge=0, le=1, description="area under precision over recall")
    detection_rates: dict[str, float] = Field(
        default_factory=dict, description="detection rate by false-alarm rate"
    )
    mse_db2: float | None = Field(description="mean squared error of the expected image, dB²")
    windows: int = Field(ge=0, description="windows evaluated")
    pixels: int = Field(ge=0, description="pixels counted")
    changed_pixels: int = Field(ge=0, description="pixels counted in which change was simulated")
    curve: Curve


class _Paired(_Record):
    """Difference of two methods on the same windows."""

    method: str
    than: str = Field(description="the method that it is compared with: the best strategy")
    change: str
    gain: float = Field(description="AUC or accuracy of the method minus that of the other")
    low: float | None = Field(description="lower end of its 95 % interval")
    high: float | None = Field(description="upper end of the same")


class PairedResult(_Paired):
    """Difference of the AUCs of two methods on the same windows."""

    difference: str


class GroupResult(_Record):
    """AUC over the windows or pixels of one condition."""

    method: str
    change: str
    difference: str
    factor: str = Field(description="as 'pass' or 'season'")
    value: str = Field(description="as 'ascending' or 'winter'")
    auc: float = Field(ge=0, le=1)
    pixels: int = Field(ge=0)


class ClassifierResult(_Record):
    """What a classifier made of a method's difference images, on windows it did not learn from."""

    method: str
    role: Role
    change: str
    classifier: str
    accuracy: float | None = Field(description="share of all pixels called rightly")
    f1: float | None
    kappa: float | None
    detection_rate: float | None = Field(description="share of the changed pixels called so")
    false_alarm_rate: float | None = Field(description="share of the unchanged called changed")
    balanced_accuracy: float | None = Field(
        description="accuracy over as many unchanged pixels as changed ones of each image, as in "
        "the paper"
    )
    balanced_accuracy_low: float | None = Field(None, description="lower end of its 95 % interval")
    balanced_accuracy_high: float | None = Field(None, description="upper end of the same")
    pixels: int


class PairedClassifier(_Paired):
    """Difference of the balanced accuracies of two methods with one classifier."""

    classifier: str


class CalibrationResult(_Record):
    """How well a method's standard deviation told the spread where nothing changed."""

    method: str
    coverage: dict[str, float] = Field(description="share found by nominal share of the interval")
    spread: float = Field(description="root mean square of z; 1 if calibrated")
    values: int


class Evaluation(_Record):
    """Result of an evaluation."""

    schema_version: Literal[1] = 1
    title: str
    results: tuple[MethodResult, ...]
    paired: tuple[PairedResult, ...] = ()
    groups: tuple[GroupResult, ...] = ()
    classifiers: tuple[ClassifierResult, ...] = ()
    paired_classifiers: tuple[PairedClassifier, ...] = ()
    calibration: tuple[CalibrationResult, ...] = ()
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="command, versions and data that it comes from"
    )

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the kinds of change, in the order in which they were evaluated."""
        return tuple(dict.fromkeys(result.change for result in self.results))

    def write(self, path: Path) -> None:
        """Write as JSON; the file is whole or absent."""
        with new_file(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises
        ------
        SarcastError
            If the file is absent, or is not an evaluation of this version.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SarcastError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise SarcastError(
                f"{path} is no evaluation of schema version 1 ({where}: {first['msg']}); "
                f"write it again with 'sarcast evaluate'"
            ) from error
