"""Head CT by classical image analysis: brain, hyperdense lesions, midline; numpy and scipy only."""

from head_ct_algorithm.judging import BRAIN, LESION, Judgement, judge

__all__ = ["BRAIN", "LESION", "Judgement", "judge"]
