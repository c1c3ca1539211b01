"""Evaluation as algebra: statistics per pixel that add up, and measures computed from their sum.

Every statistic is a state with zero and plus, so that splitting the pixels changes nothing::

    count_scores(a, changed_a) + count_scores(b, changed_b)
        == count_scores(concatenate([a, b]), concatenate([changed_a, changed_b]))

A loop, a process pool and one call over all pixels therefore give the same figures. The modules
here take plain arrays and know neither networks nor classifiers.
"""

from sarcast.evaluation.metrics.evaluator import Evaluator, MapKey, ScoreKey
from sarcast.evaluation.metrics.records import (
    CalibrationResult,
    ClassifierResult,
    CloserResult,
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
    CloserCounts,
    Confusion,
    Errors,
    count_calibration,
    count_closer,
    count_confusion,
    count_errors,
)

__all__ = [
    "Calibration",
    "CalibrationResult",
    "ClassifierResult",
    "CloserCounts",
    "CloserResult",
    "Confusion",
    "Curve",
    "Errors",
    "Evaluation",
    "Evaluator",
    "GroupResult",
    "MapKey",
    "MethodResult",
    "PairedClassifier",
    "PairedResult",
    "Roc",
    "Role",
    "ScoreCounts",
    "ScoreKey",
    "auc_exact",
    "average_precision",
    "count_calibration",
    "count_closer",
    "count_confusion",
    "count_errors",
    "count_scores",
    "roc",
]
