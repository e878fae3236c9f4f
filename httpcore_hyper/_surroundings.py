"""Surroundings: what lies between a pool's callers and the engine, and whether it is still as it was.

A pool has to know, for each request, whether anybody has put something of their own there, or listens. In
Python that is a dozen questions, which nearly always have the same answers. So they are asked once, and from
then on only whether anything has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from . import _rust
from ._originals import Attribute
from ._proxy import ssl_context_of
from ._ssl import attributes_of

__all__ = ["watch_over"]

# What the answers depend on, of the pool itself, beside its methods.
_OWN = ("_delegated", "_network_backend", "_ssl_context", "_proxy", "_proxy_url", "_proxy_ssl_context")


def watch_over(pool: Any, methods: Iterable[str]) -> _rust.Watch | None:
    """A watch over all that an engine's pool asks about; `None` if some of it cannot be watched.

    `methods` are those of the pool that nobody may have replaced.
    """
    proxied = pool._is_proxied
    attributes: list[Attribute] = [(vars(pool._network_backend), "connect_tcp")]
    if pool._proxy is not None:
        attributes.append((vars(pool._proxy), "ssl_context"))
    for context in (pool._ssl_context, ssl_context_of(pool) if proxied else None):
        if context is not None:
            hooks = attributes_of(context)
            if hooks is None:
                return None
            attributes += hooks
    for logger in pool._loggers():
        # What `isEnabledFor` has answered before, forgotten whenever any level changes. This is logging's own
        # affair: where it does otherwise each request asks the logger.
        answers = getattr(logger, "_cache", None)
        if type(logger) is not logging.Logger or type(answers) is not dict:
            return None
        attributes.append((answers, logging.DEBUG))
    attributes += pool._classes.way.attributes(proxied=proxied)
    return _rust.Watch(attributes, pool, [*_OWN, *methods], [*methods])
