"""Side heads are trained and not used: limits leave their parameters out."""

from __future__ import annotations

import pytest

from nas.data import load
from nas.errors import SpaceError
from nas.models import cost
from nas.search.request import check_default
from nas.space import parse

TEXT = """
name: t
network:
  - {op: conv, channels: 8}
  - {op: aux_head}
  - {op: global_pool}
  - {op: linear}
limits: {params: LIMIT}
"""


def test_the_default_may_have_side_heads_over_the_limit() -> None:
    data = load("digits", seed=0)
    price = cost(parse(TEXT.replace("LIMIT", "1G")), classes=10, channels=1, size=8)
    assert price.side_params > 1_000_000
    lean = price.params - price.side_params
    check_default(parse(TEXT.replace("LIMIT", str(lean))), data, "cpu")
    with pytest.raises(SpaceError, match=f"params {lean:,}, over limits.params {lean - 1:,}"):
        check_default(parse(TEXT.replace("LIMIT", str(lean - 1))), data, "cpu")
