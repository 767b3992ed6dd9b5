"""The algorithms that Triton loads from their models' own folders, on the path of their tests."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(folder) for folder in (ROOT / "triton_models").glob("*/1")]
