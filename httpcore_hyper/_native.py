"""Whether there is a native module here. Where there is none every pool runs on httpcore's own engine.

It cannot be loaded in a second interpreter of one process (mod_wsgi has such), nor where no wheel fits and
nothing was built. Said once, since it is slow and not what was asked for.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

__all__ = ["missing"]

missing: str | None = None
"""Why the native module is missing; `None` where it is here."""

try:
    from . import _rust  # noqa: F401 - the attempt is all that matters
except ImportError as error:
    missing = f"the native module cannot be loaded: {error}"
    warnings.warn(f"{missing}; httpcore's own engine serves instead", RuntimeWarning, stacklevel=2)
    _stand_in = ModuleType(f"{__package__}._rust", missing)
    # Of all its names the one that is looked at without an engine.
    _stand_in.Moved = type("Moved", (Exception,), {})  # type: ignore[attr-defined]
    sys.modules[_stand_in.__name__] = _stand_in
