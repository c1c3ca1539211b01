"""Evaluation as algebra: statistics per pixel that add up, and the measures computed from the sum.

A state of one window plus the state of another is the state of both, so that a loop, a process
pool or one call over everything give the same figures. The rooms that make expected images and
change maps are not known here: arrays come in.
"""

from sarcast.evaluation.metrics.records import (
    CalibrationResult,
    ClassifierResult,
    Curve,
    Evaluation,
    GroupResult,
    MethodResult,
    PairedClassifier,
    PairedResult,
    Role,
)
from sarcast.evaluation.metrics.scores import (
    Roc,
    ScoreCounts,
    auc_exact,
    average_precision,
    count_scores,
    roc,
)
from sarcast.evaluation.metrics.statistics import (
    Calibration,
    Confusion,
    Errors,
    count_calibration,
    count_confusion,
    count_errors,
)
from sarcast.evaluation.metrics.tally import Classified, Evaluator, Scored

__all__ = [
    "Calibration",
    "CalibrationResult",
    "Classified",
    "ClassifierResult",
    "Confusion",
    "Curve",
    "Errors",
    "Evaluation",
    "Evaluator",
    "GroupResult",
    "MethodResult",
    "PairedClassifier",
    "PairedResult",
    "Roc",
    "Role",
    "ScoreCounts",
    "Scored",
    "auc_exact",
    "average_precision",
    "count_calibration",
    "count_confusion",
    "count_errors",
    "count_scores",
    "roc",
]
