"""The five orderings of a residual unit (He et al. 2016, Figure 4), for both kinds of unit.

post             conv, norm, act, conv, norm; sum, act   the original (He et al. 2015)
bn_after_add     conv, norm, act, conv; sum, norm, act   a projected shortcut has no norm either
relu_before_add  conv, norm, act, conv, norm, act; sum
relu_only_pre    act, conv, norm, act, conv, norm; sum
pre              norm, act, conv, norm, act, conv; sum   full pre-activation

The two last leave a raw sum. As in that paper's appendix, the first unit skips its opening where
the row before has just activated, a projected shortcut starts from the opened input, and what
follows the last unit sees the sum normed and activated (`relu_only_pre`: activated): the walk adds
a `norm_act` there (see `walk.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from .conv import Conv
from .norm_act import NormAct, make_act
from .squeeze_excite import cost_of_se
from .tally import Misfit, Tally, is_none

Order = Literal["post", "bn_after_add", "relu_before_add", "relu_only_pre", "pre"]

OPENED = frozenset({"relu_only_pre", "pre"})  # units that open with an activation
BARE = frozenset({"bn_after_add", "pre"})  # units without a norm right before the sum

NormSetting = str | Mapping[str, Any]


# ------------------------------------------------------------------------------- their modules
def make_opening(
    in_channels: int, norm: NormSetting, act: Any, order: Order, activated: bool
) -> nn.Module:
    """What stands in front of a unit's first convolution."""
    if order not in OPENED or activated:
        return nn.Identity()
    return NormAct(in_channels, norm if order == "pre" else "none", act)


def last_conv(norm: NormSetting, act: Any, order: Order) -> dict[str, Any]:
    """Settings of the convolution whose output is added."""
    return {
        "norm": "none" if order in BARE else norm,
        "act": act if order == "relu_before_add" else "none",
        "bias": is_none(norm),
    }


def make_closing(channels: int, norm: NormSetting, act: Any, order: Order) -> nn.Module:
    """What stands behind the sum."""
    if order == "post":
        return make_act(act)
    return NormAct(channels, norm, act) if order == "bn_after_add" else nn.Identity()


def zero(last: Conv) -> None:
    """Start a unit as the identity (Goyal et al. 2017): the last norm's scale, or convolution."""
    scaled = last.norm if isinstance(last.norm, nn.BatchNorm2d) else last.conv
    nn.init.zeros_(scaled.weight)


# ------------------------------------------------------------------------- and what they cost
def open_unit(
    tally: Tally, kernel: int, norm: NormSetting, act: str, order: str, zero_init: bool
) -> None:
    """Up to a unit's first convolution, and what no unit can be."""
    if kernel % 2 == 0:
        raise Misfit(f"kernel {kernel} would change the size beside the shortcut: take an odd one")
    if zero_init and order == "relu_before_add" and act in ("relu", "relu6"):
        raise Misfit(
            f"zero_init with order {order} would leave a branch that never learns, since {act} "
            "passes no gradient at 0: leave zero_init out, or take order post"
        )
    if not tally.activated and order in OPENED:
        if order == "pre":
            tally.norm_act(norm, act, in_place=not is_none(norm))
        else:
            tally.norm_act("none", act, in_place=False)
    tally.pending = False


def drop_in_unit(tally: Tally) -> None:
    """Dropout before the last convolution."""
    tally.keep()  # the result
    tally.keep()  # the mask


def close_unit(
    tally: Tally, before: int, stride: Any, shortcut: str, se: Any,
    order: str, norm: NormSetting, act: str,
) -> None:  # fmt: skip
    """From a unit's last convolution on: the branch's end, the shortcut, the sum."""
    channels = tally.channels
    bare = order in BARE
    if not bare:
        tally.norm_act(norm, "none")
        if order == "relu_before_add":
            tally.keep()  # the activation's result, or what it is reckoned from
    if se:
        cost_of_se(tally, se, before)
    if stride != 1 or before != channels or shortcut == "project_always":
        if shortcut == "pad":
            _check_pad(before, channels)
        else:
            tally.pointwise(
                before, channels, tally.height * tally.width,
                bias=is_none(norm), norm="none" if bare else norm,
            )  # fmt: skip
    tally.keep()  # the sum
    if order == "post":
        tally.norm_act("none", act)
    elif order == "bn_after_add":
        tally.norm_act(norm, act)
    else:
        tally.activated, tally.pending = False, order in OPENED


def _check_pad(before: int, channels: int) -> None:
    if before > channels:
        raise Misfit(
            f"shortcut pad cannot turn {before} channels into {channels}, it only adds zeros: take "
            f"shortcut project, or at least {before} channels"
        )
