"""All change classifiers: from difference images to change maps, in scikit-learn's manner.

A classifier is fitted to difference images, with or without masks of what changed, and then makes
the change map of any other. Which need masks:

==========================================  ===================================================
thresholds on the norm over bands           ``Threshold``, ``FalseAlarmRate`` (need no fit),
                                            ``Otsu``, ``KittlerIllingworth`` (fitted without
                                            masks), ``BestThreshold`` (masks)
single pixels                               ``linear_svc``, ``PixelEstimator`` (masks),
                                            ``FunctionClassifier`` (needs no fit)
pixels with their neighbours                ``PcaKMeans``, ``MarkovField`` (without masks)
==========================================  ===================================================

>>> import numpy as np
>>> difference = np.zeros((2, 3, 3), dtype=np.float32)
>>> difference[:, 1, 1] = -4.0                            # dB, both bands: a norm of 5.7 dB
>>> int(Threshold(5.0).predict(difference).sum())
1
"""

from sarcast.detection.estimators import FunctionClassifier, PixelEstimator, linear_svc
from sarcast.detection.protocol import Classifier, Takes, check_classifier
from sarcast.detection.spatial import MarkovField, PcaKMeans
from sarcast.detection.thresholds import (
    BestThreshold,
    FalseAlarmRate,
    KittlerIllingworth,
    NormThreshold,
    Otsu,
    Threshold,
    norm_histogram,
)

__all__ = [
    "BestThreshold",
    "Classifier",
    "FalseAlarmRate",
    "FunctionClassifier",
    "KittlerIllingworth",
    "MarkovField",
    "NormThreshold",
    "Otsu",
    "PcaKMeans",
    "PixelEstimator",
    "Takes",
    "Threshold",
    "check_classifier",
    "linear_svc",
    "norm_histogram",
]
