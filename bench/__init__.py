"""The benchmark (`python -m bench`) and the demo (`python -m bench.demo`). Never imported by the package.

Measured is the *installed* httpcore_hyper. `python -m` puts the current folder first in the path, where the
sources lie without their native module, so the folder goes to the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_own = [entry for entry in sys.path if Path(entry or ".").resolve() == ROOT]
sys.path[:] = [entry for entry in sys.path if entry not in _own] + [str(ROOT)]
