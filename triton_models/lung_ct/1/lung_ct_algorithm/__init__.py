"""Lung segmentation of chest CT by classical image analysis: threshold, anatomy, morphology; numpy and scipy only."""

from lung_ct_algorithm.remarks import Remark
from lung_ct_algorithm.segmentation import AIRWAYS, Segmentation, segment
from lung_ct_algorithm.sides import LEFT_LUNG, RIGHT_LUNG

__all__ = ["AIRWAYS", "LEFT_LUNG", "RIGHT_LUNG", "Remark", "Segmentation", "segment"]
