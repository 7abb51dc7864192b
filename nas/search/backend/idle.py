"""Keeps Tune's idle workers warm while the search waits.

Tune keeps the worker of an ended trial only for a trial that waits already, beyond that one for
all slots (Ray 2.60). Nothing waits at the end of the search, before the final trainings: there
are none until the last trial has said how good it is. New workers for them would take seconds
each, in which the final trainings queue behind the one worker left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.tune.execution import tune_controller
from ray.tune.utils.object_cache import _ObjectCache

from ..finals import MOST_TRAININGS


class Idle:
    """The idle workers of one fit: as many are kept as the final training can use, at most
    `slots`. In a cluster others may want the rest.
    """

    def __init__(self, slots: int) -> None:
        self.kept_most = min(slots, MOST_TRAININGS)
        self.distrusted = False

    def distrust(self) -> None:
        """Use none of those at hand: one has died, maybe with its node, and a trial would, too."""
        self.distrusted = True

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Have the controllers that are made meanwhile keep their idle workers here."""
        theirs = tune_controller._ObjectCache  # past all public settings
        tune_controller._ObjectCache = lambda **_: _Cache(self)
        try:
            yield
        finally:
            tune_controller._ObjectCache = theirs


class _Cache(_ObjectCache):  # type: ignore[misc]
    """Tune's cache with more room; the key is what a trial needs, the same for all."""

    def __init__(self, idle: Idle) -> None:
        super().__init__(may_keep_one=True)
        self._idle = idle

    def has_cached_object(self, key: Any) -> bool:
        return not self._idle.distrusted and bool(super().has_cached_object(key))

    def cache_object(self, key: Any, obj: Any) -> bool:
        most = max(self._idle.kept_most, self._max_num_objects[key])
        if self._idle.distrusted or self._num_cached_objects >= most:
            return False
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        """Those to be ended: all of them, or none."""
        if force_all or self._idle.distrusted:
            self._idle.distrusted = False
            yield from super().flush_cached_objects(force_all=True)
