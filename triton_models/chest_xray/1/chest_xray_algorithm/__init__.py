"""Lung fields and heart on a frontal chest radiograph, by classical image analysis."""

from chest_xray_algorithm.lungs import Seen, look

__all__ = ["Seen", "look"]
