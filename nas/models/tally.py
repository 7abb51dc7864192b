"""The arithmetic of convolutional networks: sizes, parameters, multiply-adds, memory, view.

A Tally walks through a network beside the data: `tally.conv(64, 3, stride=2)` does to its state
what the layer does to a tensor, and adds up what the layer costs. One walk prices a network
without building it (a ResNet-20 in some 0.05 ms; the meta device takes about 1000x as long), and
its checks are the only ones: `build` makes the same walk, so both refuse with the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Place = tuple[int, int, int, bool, bool, int, int, int, int]
ANY_SIZE = 1 << 30
# A Tally's figures of at least 1, and those that only grow
WHOLE = ("channels", "height", "width", "view_h", "view_w", "jump_h", "jump_w")
SUMS = ("params", "side_params", "buffers", "macs", "activations", "kept", "largest")


class Misfit(Exception):
    """Shapes that do not fit; `small`: a larger image would, or else `remedy`.

    The caller adds row and line.
    """

    def __init__(
        self, message: str, *, small: bool = False, remedy: str = "take out a stride or a pool"
    ) -> None:
        self.small, self.remedy = small, remedy
        super().__init__(message)


class Tally:
    """Where a walk stands, and what it has added up for one image.

    channels, height, width   shape of the tensor; `flat` once it is (N, channels)
    activated                 its last step was an activation (a pre-activation unit skips its own)
    previous                  place of the output before the present tensor, where a cell of the
                              network looks back that far and there is one; else None
    pending                   a sum of pre-activation units, which waits for its norm and act
    params                    trainable parameters
    side_params               those of side heads among them, which evaluation has no use for
    buffers                   values beside the parameters, once a batch: running statistics, codes
    macs                      multiply-adds of convolutions and linear layers
    activations               output values of convolutions (the measure of Radosavovic et al. 2020)
    kept                      values that training keeps until the backward pass
    largest                   values of the largest tensor
    view_h, view_w            receptive field: how much of the image one value sees, in pixels
    jump_h, jump_w            how far apart neighbouring values look, in pixels
    image_h, image_w          size of the network's images: no kernel may be larger, not even over
                              padding, though it may be than a map; any size until `look_at`
    """

    # whether steps that repeat or grow by a rule may be summed up instead of walked one by one
    sums_up = True

    __slots__ = (
        "activated", "activations", "buffers", "channels", "flat", "height", "image_h",
        "image_least", "image_w", "jump_h", "jump_w", "kept", "largest", "macs", "params",
        "pending", "previous", "side_params", "view_h", "view_w", "width",
    )  # fmt: skip

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.channels, self.height, self.width = channels, height, width
        self.flat = self.activated = self.pending = False
        self.params = self.side_params = self.buffers = self.macs = self.activations = 0
        self.kept = self.largest = channels * height * width
        self.view_h = self.view_w = self.jump_h = self.jump_w = 1
        self.previous: Place | None = None
        self.look_at(ANY_SIZE, ANY_SIZE)

    # ------------------------------------------------------------------ state
    def state(self) -> tuple[object, ...]:
        """What a further repetition depends on: equal states cost the same."""
        back: tuple[object, ...] | None = self.previous
        if self.previous is not None:  # how far it sees counts against the present tensor's view
            place = self.previous
            back = (*place[:5], self.view_h - place[5], self.view_w - place[6], *place[7:])
        return (self.channels, self.height, self.width, self.flat, self.activated,
                self.jump_h, self.jump_w, back)  # fmt: skip

    def sums(self) -> tuple[int, ...]:
        """What only grows."""
        return (self.params, self.side_params, self.buffers, self.macs, self.activations,
                self.kept, self.view_h, self.view_w)  # fmt: skip

    def again(self, before: tuple[int, ...], times: int) -> None:
        """Add what came since `before` (a `sums()`) `times` more."""
        params, side_params, buffers, macs, activations, kept, view_h, view_w = before
        self.params += times * (self.params - params)
        self.side_params += times * (self.side_params - side_params)
        self.buffers += times * (self.buffers - buffers)
        self.macs += times * (self.macs - macs)
        self.activations += times * (self.activations - activations)
        self.kept += times * (self.kept - kept)
        further_h, further_w = times * (self.view_h - view_h), times * (self.view_w - view_w)
        self.view_h += further_h
        self.view_w += further_w
        if self.previous is not None:
            c, h, w, flat, activated, see_h, see_w, *jumps = self.previous
            moved = see_h + further_h, see_w + further_w
            self.previous = (c, h, w, flat, activated, *moved, *jumps)  # type: ignore[assignment]

    def go_on(self, sums: list[tuple[int, ...]], times: int) -> None:
        """Take `times` more steps of a series, each as much dearer than the one before as the
        second was than the first. `sums`: `sums()` before the first, after it, after the second.
        """
        grown = []
        for start, one, two in zip(*sums, strict=True):
            second, step = two - one, two - 2 * one + start
            grown.append(two + times * second + times * (times + 1) // 2 * step)
        (self.params, self.side_params, self.buffers, self.macs, self.activations,
         self.kept, self.view_h, self.view_w) = grown  # fmt: skip

    def place(self) -> Place:
        """Where the walk stands, without the sums: what parallel branches start from."""
        return (self.channels, self.height, self.width, self.flat, self.activated,
                self.view_h, self.view_w, self.jump_h, self.jump_w)  # fmt: skip

    def go(self, place: Place) -> None:
        """Stand where `place()` was taken; the sums stay."""
        (self.channels, self.height, self.width, self.flat, self.activated,
         self.view_h, self.view_w, self.jump_h, self.jump_w) = place  # fmt: skip

    def join(self, ends: list[Place], how: str) -> None:
        """Concatenate ("concat") or add ("add") what branches ended with, at these places."""
        widest = ends[0]
        channels, height, width, flat, activated, view_h, view_w = widest[:7]
        for end in ends[1:]:
            if end[1] != height or end[2] != width or end[3] != flat or (
                how == "add" and end[0] != channels
            ):  # fmt: skip
                raise Misfit(_join_fault(ends, how))
            if how == "concat":
                channels += end[0]
            activated = activated and end[4]
            if end[5:7] >= widest[5:7]:
                widest = end
            view_h, view_w = max(view_h, end[5]), max(view_w, end[6])
        self.go(widest)
        self.channels = channels
        self.activated = how == "concat" and activated
        self.view_h, self.view_w = view_h, view_w
        values = self.channels * self.height * self.width
        self.kept += values
        self.largest = max(self.largest, values)

    def shape(self) -> str:
        """The tensor's shape in words: "64x8x8", or "a vector of 64 values"."""
        return _shape(self.place())

    def need_image(self) -> None:
        """Raise Misfit once the tensor is a vector."""
        if self.flat:
            raise Misfit(f"needs an image, but its input is {self.shape()}")

    def look_at(self, height: int, width: int) -> None:
        """Say what size the network's images have."""
        self.image_h, self.image_w, self.image_least = height, width, min(height, width)

    def need_kernel(self, height: int, width: int, dilation: int = 1) -> None:
        """Raise Misfit for a kernel that spans more than the network's images: weights that see
        nothing.

        A pool with 'same' padding has none, and is then a global one.
        """
        span_h, span_w = _span(height, dilation), _span(width, dilation)
        if span_h > self.image_h or span_w > self.image_w:
            kernel = f"kernel {height}x{width}"
            if dilation > 1:
                kernel += f" with dilation {dilation} spans {span_h}x{span_w}, which"
            raise Misfit(
                f"{kernel} is larger than the image",
                small=True,
                remedy=f"take a smaller kernel{' or dilation' if dilation > 1 else ''}",
            )

    def check_growth(self, before: Tally) -> None:
        """Raise Misfit where a `cost` has left what can be no sum of what it adds to `before`."""
        for name in WHOLE:
            value = getattr(self, name)
            if value.__class__ is not int or value < 1:
                raise Misfit(f"leaves {name} at {value!r}: it is a whole number of at least 1")
        for name in SUMS:
            value, start = getattr(self, name), getattr(before, name)
            if value.__class__ is not int or value < start:
                raise Misfit(
                    f"leaves {name} at {value!r}, where it was {start} before: what a cost adds "
                    "are whole numbers of at least 0"
                )

    def measured(self, layers: Sequence[tuple[Any, ...]], depth: int) -> None:
        """Told of the layers of a measured operator, and of how deep it is; here for nobody."""

    # ------------------------------------------------------------------ layers
    def conv(
        self,
        channels: int,
        kernel: Any,
        stride: Any = 1,
        groups: int = 1,
        *,
        dilation: int = 1,
        padding: Any = "same",
        bias: bool = False,
        kept: bool = True,
    ) -> None:
        """A convolution. `kept`: False where nothing needs its output in the backward pass."""
        before = self.channels
        if channels > MOST_CHANNELS:
            raise Misfit(channels_fault(channels))
        if before % groups or channels % groups:
            raise Misfit(groups_fault(groups, before, channels))
        if kernel == 1 and stride == 1 and padding == "same" and not self.flat:
            area = 1  # most layers of a bottleneck: nothing moves
        else:
            self.window(kernel, stride, dilation, padding)
            if kernel.__class__ is not int:
                height, width = kernel
                self.need_kernel(height, width, dilation)
                area = height * width
            else:
                if dilation * (kernel - 1) >= self.image_least:
                    self.need_kernel(kernel, kernel, dilation)
                area = kernel * kernel
        weights = before // groups * channels * area
        pixels = self.height * self.width
        values = channels * pixels
        self.channels = channels
        self.params += weights + channels if bias else weights
        self.macs += weights * pixels
        self.activations += values
        if kept:
            self.kept += values
        if values > self.largest:
            self.largest = values
        self.activated = False

    def window(
        self, kernel: Any, stride: Any, dilation: int, padding: Any, ceil: bool = False
    ) -> None:
        """Slide a window over height and width: new size, receptive field, jump."""
        if self.flat:
            self.need_image()
        if stride == 1 and padding == "same" and kernel.__class__ is int and kernel % 2:
            # the short way of most layers: nothing moves but the view
            self.view_h += dilation * (kernel - 1) * self.jump_h
            self.view_w += dilation * (kernel - 1) * self.jump_w
            return
        kernel_h, kernel_w = (kernel, kernel) if kernel.__class__ is int else kernel
        stride_h, stride_w = (stride, stride) if stride.__class__ is int else stride
        pad_h, pad_w = (padding, padding) if padding.__class__ in (int, str) else padding
        if padding.__class__ is not str:
            _check_padding((kernel_h, kernel_w), (pad_h, pad_w), dilation)
        height, width = self.height, self.width
        self.height = _slide(height, kernel_h, stride_h, dilation, pad_h, ceil)
        self.width = _slide(width, kernel_w, stride_w, dilation, pad_w, ceil)
        if self.height < 1 or self.width < 1 or height < stride_h or width < stride_w:
            fits = self.height >= 1 and self.width >= 1
            said = _window_fault(height, width, kernel, stride, padding, dilation, fits=fits)
            raise Misfit(said, small=True, remedy=_remedy(height, width, kernel, stride))
        self.view_h += dilation * (kernel_h - 1) * self.jump_h
        self.view_w += dilation * (kernel_w - 1) * self.jump_w
        self.jump_h *= stride_h
        self.jump_w *= stride_w

    def norm_act(self, norm: Any, act: str, *, in_place: bool = True, copied: bool = False) -> None:
        """A normalisation and an activation, either of which may be "none".

        in_place  False where the activation's input is needed for something else
        copied    whether what follows copies the result, so that it need not be kept for that
        """
        fresh = 0
        if norm == "batch" or norm_kind(norm) == "batch":
            fresh = 1
            self.params += 2 * self.channels
            self.buffers += 2 * self.channels
        elif norm != "none" and norm_kind(norm) == "lrn":
            fresh = 1
            self.response_norm(norm)
        if act != "none":
            if act not in BY_RESULT:
                fresh += not copied
            elif not in_place:
                fresh += 1
            self.kept += fresh * self.channels * self.height * self.width
            self.activated = True

    def response_norm(self, norm: Any = "lrn") -> None:
        """Local response normalisation, its result left out. Raises Misfit for other constants."""
        if norm.__class__ is not str and len(norm) > 1:
            raise Misfit(
                f"norm lrn takes no {', '.join(key for key in norm if key != 'kind')}: it has "
                "AlexNet's constants; for others write a row {op: lrn, size: 5, alpha: 1e-4, …}"
            )
        # the squares, and the divisor before and after its power
        self.kept += 3 * self.channels * self.height * self.width

    def keep(self) -> None:
        """Count the present tensor as kept: the next layer needs it in the backward pass."""
        self.kept += self.channels * self.height * self.width

    def pointwise(self, before: int, channels: int, pixels: int, *, bias: bool, norm: Any) -> None:
        """A 1x1 convolution beside the main path (a shortcut, a gate): the state stays."""
        if channels > MOST_CHANNELS:
            raise Misfit(channels_fault(channels))
        weights = before * channels
        self.params += weights + channels if bias else weights
        if norm == "batch" or norm_kind(norm) == "batch":
            self.params += 2 * channels
            self.buffers += 2 * channels
            self.kept += channels * pixels
        elif norm_kind(norm) == "lrn":
            self.kept += 4 * channels * pixels
        self.macs += weights * pixels
        self.activations += channels * pixels

    def linear(self, channels: int) -> None:
        """A linear layer with bias on a vector."""
        if channels > MOST_CHANNELS:
            raise Misfit(channels_fault(channels))
        self.params += self.channels * channels + channels
        self.macs += self.channels * channels
        self.kept += channels
        self.channels = channels
        self.flat = True
        self.activated = False

    def see_all(self) -> None:
        """Reduce height and width to 1: from here on a value sees the whole map."""
        self.view_h += (self.height - 1) * self.jump_h
        self.view_w += (self.width - 1) * self.jump_w
        self.height = self.width = 1


MOST_CHANNELS = 1_000_000  # of a layer; the documented networks have up to 9,216
# the backward pass of these needs their result alone, so that their input can go
BY_RESULT = frozenset({"relu", "tanh", "sigmoid"})


def is_none(norm: Any) -> bool:
    """Whether a norm setting, short or long, says that there is none."""
    return norm == "none" or (norm.__class__ is not str and norm.get("kind") == "none")


def norm_kind(norm: Any) -> str:
    """Which norm a setting, short or long, asks for."""
    kind: str = norm if norm.__class__ is str else norm.get("kind", "batch")
    return kind


def _span(kernel: int, dilation: int) -> int:
    """How many pixels a side of a kernel reaches over, its gaps among them."""
    return dilation * (kernel - 1) + 1


def _check_padding(kernel: tuple[int, int], padding: tuple[Any, Any], dilation: int) -> None:
    """Raise Misfit for windows that stand outside the image, and more than a pixel off it."""
    spans = [_span(side, dilation) for side in kernel]
    if padding[0] > spans[0] or padding[1] > spans[1]:
        raise Misfit(
            f"padding {_text(padding)} may be at most {_text(spans)}, what its kernel spans; "
            "same keeps the size"
        )


def _slide(size: int, kernel: int, stride: int, dilation: int, padding: Any, ceil: bool) -> int:
    if padding == "same_tf":
        return -(-size // stride)
    reach = dilation * (kernel - 1)
    if padding == "same":
        pad = reach // 2
    else:
        pad = 0 if padding == "valid" else padding
    room = size + 2 * pad - reach - 1
    if not ceil:
        return room // stride + 1
    steps = -(-room // stride) + 1
    # torch's rule: the last window must start inside the image or its left padding
    return steps - 1 if (steps - 1) * stride >= size + pad else steps


def groups_fault(groups: int, before: int, channels: int) -> str:
    """What to say of groups that do not divide the channels."""
    fits = [g for g in range(1, min(before, channels, 64) + 1) if before % g + channels % g == 0]
    return (
        f"groups {groups} must divide its {before} input and {channels} output channels; "
        f"groups that do: {', '.join(map(str, fits))}"
    )


def channels_fault(channels: int) -> str:
    """What to say of more channels than a layer may have."""
    return f"{channels:,} channels are more than a layer may have: at most {MOST_CHANNELS:,}"


def _window_fault(
    height: int, width: int, kernel: Any, stride: Any, padding: Any, dilation: int, *, fits: bool
) -> str:
    """`fits`: the window does, and its stride does not."""
    if fits:
        return (
            f"its input is {height}x{width}, which stride {_text(stride)} would bring under one "
            "pixel"
        )
    gaps = ""
    if dilation > 1:
        sides = (kernel, kernel) if kernel.__class__ is int else kernel
        spans = _text([_span(side, dilation) for side in sides])
        gaps = f" with dilation {dilation}, which spans {spans}"
    return (
        f"its input is {height}x{width}, too small for kernel {_text(kernel)}{gaps}, "
        f"stride {_text(stride)}, padding {_text(padding)}"
    )


def _remedy(height: int, width: int, kernel: Any, stride: Any) -> str:
    """What would make a window fit, beside a larger image."""
    largest = max(kernel) if kernel.__class__ is not int else kernel
    if stride not in (1, (1, 1), [1, 1]) or largest <= 1:
        return "take out a stride or a pool"
    return "take a smaller kernel or padding: same, or fewer strides and pools before it"


def _join_fault(ends: list[Place], how: str) -> str:
    shapes = ", ".join(map(_shape, ends))
    if len({end[3] for end in ends}) > 1:
        return f"its branches end with {shapes}: to {how} they must all be maps or all flattened"
    alike = "height and width" if how == "concat" else "channels, height and width"
    return (
        f"its branches end with {shapes}: to {how} they must agree in {alike}; give them the "
        f"same strides and 'same' padding{', and the same channels' if how == 'add' else ''}"
    )


def _shape(place: Place) -> str:
    channels, height, width, flat, *_ = place
    return f"a vector of {channels} values" if flat else f"{channels}x{height}x{width}"


def _text(value: Any) -> str:
    return str(value) if value.__class__ in (int, str) else "x".join(map(str, value))
