"""The algorithm of `lung_ct`, which Triton loads from its own folder, on the path of its tests."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "triton_models" / "lung_ct" / "1"))
