"""The result of an evaluation, as stored in ``evaluation.json``."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.errors import SarcastError
from sarcast.io.files import new_file

Role = Literal["strategy", "network", "oracle"]
"""What a method is: a conventional strategy, a network, or the noise-free truth of a world."""


class Record(BaseModel):
    """A record of a result: immutable, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredRecord(Record):
    """A result that is stored as a JSON file."""

    what: ClassVar[str]
    """What the file is, in errors."""
    command: ClassVar[str]
    """Command that writes one."""

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        with new_file(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that ``write`` wrote.

        Raises
        ------
        SarcastError
            If the file is absent, or not such a result of this schema version.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SarcastError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise SarcastError(
                f"{path} is not {cls.what} of schema version 1 ({where}: {first['msg']}); "
                f"run '{cls.command}' again to write one"
            ) from error


class Curve(Record):
    """Points of a ROC curve."""

    false_alarm_rate: tuple[float, ...]
    detection_rate: tuple[float, ...]


class MethodResult(Record):
    """Measures of one method under one kind of change, with one kind of difference image."""

    method: str = Field(description="name of the method")
    role: Role = Field(description="what the method is")
    change: str = Field(description="name of the simulated change")
    difference: str = Field(description="difference image that was scored: 'norm' or 'z'")
    auc: float = Field(ge=0, le=1, description="area under the ROC curve over all pixels")
    auc_low: float | None = Field(None, description="lower end of its 95 % interval")
    auc_high: float | None = Field(None, description="upper end of that interval")
    auc_windows: tuple[float | None, ...] = Field(
        default=(), description="AUC of each window; null where nothing changed"
    )
    average_precision: float = Field(
        ge=0, le=1, description="area under the precision-recall curve"
    )
    detection_rates: dict[str, float] = Field(
        default_factory=dict, description="detection rate by false-alarm rate"
    )
    mse_db2: float | None = Field(description="mean squared error of the expected image, dB²")
    windows: int = Field(ge=0, description="windows evaluated")
    pixels: int = Field(ge=0, description="pixels counted")
    changed_pixels: int = Field(ge=0, description="pixels counted that changed")
    curve: Curve


class _Paired(Record):
    """Difference of two methods on the same windows."""

    method: str
    than: str = Field(description="the best strategy, with which it is compared")
    change: str
    gain: float = Field(description="AUC or accuracy of the method minus that of the strategy")
    low: float | None = Field(description="lower end of its 95 % interval")
    high: float | None = Field(description="upper end of that interval")


class PairedResult(_Paired):
    """Difference of the AUCs of two methods on the same windows."""

    difference: str


class GroupResult(Record):
    """AUC over the windows of one condition, or over the pixels of one land cover."""

    method: str
    change: str
    difference: str
    factor: str = Field(description="condition that is grouped by, such as 'pass' or 'season'")
    value: str = Field(description="the group, such as 'ascending' or 'winter'")
    auc: float = Field(ge=0, le=1)
    pixels: int = Field(ge=0)


class ClassifierResult(Record):
    """Measures of a classifier on a method's difference images, on cases it was not fitted on."""

    method: str
    role: Role
    change: str
    classifier: str
    accuracy: float | None = Field(description="share of all pixels classified correctly")
    f1: float | None
    kappa: float | None
    detection_rate: float | None = Field(
        description="share of the changed pixels that were called changed"
    )
    false_alarm_rate: float | None = Field(
        description="share of the unchanged pixels that were called changed"
    )
    balanced_accuracy: float | None = Field(
        description="accuracy over the changed pixels and as many unchanged ones of each image, "
        "as in the paper"
    )
    balanced_accuracy_low: float | None = Field(None, description="lower end of its 95 % interval")
    balanced_accuracy_high: float | None = Field(None, description="upper end of that interval")
    pixels: int


class PairedClassifier(_Paired):
    """Difference of the balanced accuracies of two methods with one classifier."""

    classifier: str


class CalibrationResult(Record):
    """How well a method's standard deviation matches the residuals where nothing changed."""

    method: str
    coverage: dict[str, float] = Field(
        description="share of values inside each interval, by its nominal share"
    )
    spread: float = Field(description="root mean square of z; 1 if calibrated")
    values: int


class CloserResult(Record):
    """How often a method's expected image is closer to the actual one than the latest previous one.

    Without simulated change; ties count half, so that the latest previous image itself has 0.5.
    """

    method: str
    role: Role
    shares: dict[str, float] = Field(
        description="share of the pixels, by band, and in 'norm' by the norm over the bands"
    )
    windows: float = Field(
        ge=0, le=1, description="share of the windows whose mean squared error is less"
    )
    pixels: int = Field(ge=0, description="pixels compared")


class Evaluation(StoredRecord):
    """Result of an evaluation."""

    what, command = "an evaluation", "sarcast evaluate"

    schema_version: Literal[1] = 1
    title: str
    results: tuple[MethodResult, ...]
    paired: tuple[PairedResult, ...] = ()
    groups: tuple[GroupResult, ...] = ()
    classifiers: tuple[ClassifierResult, ...] = ()
    paired_classifiers: tuple[PairedClassifier, ...] = ()
    calibration: tuple[CalibrationResult, ...] = ()
    closer: tuple[CloserResult, ...] = ()
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="command, versions and data of the evaluation"
    )

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the kinds of change, in the order of evaluation."""
        return tuple(dict.fromkeys(result.change for result in self.results))
