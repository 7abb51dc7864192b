"""A driver's full collections look at what is new, whatever it has kept so far."""

import gc
import weakref

from nas.search.collection import short_collections


class Knot:
    """An object that only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_survived_a_full_collection_is_not_looked_at_again() -> None:
    with short_collections():
        kept = [Knot() for _ in range(1000)]
        gc.collect()
        assert not any(type(found) is Knot for found in gc.get_objects())
        knot = weakref.ref(Knot())
        gc.collect()
        assert knot() is None  # what is new is freed as ever
    assert gc.get_freeze_count() == 0
    assert sum(type(found) is Knot for found in gc.get_objects()) == len(kept)


def test_garbage_of_the_time_within_is_freed_afterwards() -> None:
    with short_collections():
        knot = Knot()
        seen = weakref.ref(knot)
        gc.collect()
        del knot
    gc.collect()
    assert seen() is None


def test_a_program_that_froze_its_own_objects_keeps_them_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with short_collections():
            gc.collect()
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
