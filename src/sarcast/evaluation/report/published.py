"""Published figures that reports show beside ours, other than those of the paper."""

CLOSER_SHARE = 0.86
"""Share of predictions that are better than the previous image, by a network with weather.

References
----------
"Exploring Convolutional Neural Networks for Predicting Sentinel-C Backscatter Between Image
Acquisitions", IEEE Transactions on Geoscience and Remote Sensing, 2023: a U-Net that is given
elevation and daily weather, in an area near that of its training.
"""
