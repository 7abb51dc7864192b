"""What LeNet-5 has of its own (LeCun et al. 1998): sub-sampling with weights, and its RBF output.

Its connection table is `connections: lenet5` of `conv`.
"""

from __future__ import annotations

import random
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense import need_vector
from .norm_act import make_act
from .operators import operator
from .settings import ActName, Kernel, SameChannels
from .tally import Misfit, Tally

# ten digits of 7x12 pixels, side by side: the codes of the ten output units (section II.B)
DIGITS = """
..###..  ...#...  ..###..  .#####.  .....#.  #######  ...###.  #######  ..###..  ..###..
.##.##.  ..##...  .##.##.  ##...##  ....##.  #......  ..##...  ......#  .##.##.  .##.##.
##...##  .###...  ##...##  ......#  ....##.  #......  .##....  ......#  ##...##  ##...##
##...##  ...#...  ......#  ......#  ...#.#.  #......  ##.....  .....##  ##...##  ##...##
##...##  ...#...  ......#  .....##  ...#.#.  #......  ##.....  .....#.  .##.##.  ##...##
##...##  ...#...  .....##  ..####.  ..#..#.  #####..  ##.###.  ....##.  ..###..  .##.###
##...##  ...#...  ....##.  .....##  .##..#.  ....##.  ###.##.  ....#..  .##.##.  ..###.#
##...##  ...#...  ...##..  ......#  .#...#.  .....##  ##...##  ...##..  ##...##  .....##
##...##  ...#...  ..##...  ......#  #######  ......#  ##...##  ...#...  ##...##  .....##
##...##  ...#...  .##....  ##....#  .....#.  ##....#  ##...##  ..##...  ##...##  ....##.
.##.##.  ...#...  ##.....  .#...##  .....#.  .##..##  .##.##.  ..#....  .##.##.  ...##..
..###..  .#####.  #######  ..####.  .....#.  ..####.  ..###..  ..#....  ..###..  .###...
"""


@operator("subsample")
class Subsample(nn.Module):
    """Each window's sum times a trainable coefficient, plus a trainable bias, then an activation.

    LeCun et al. 1998, layers S2 and S4: two parameters a map. The windows do not overlap.
    """

    def __init__(self, in_channels: int, kernel: Kernel = 2, act: ActName = "tanh") -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else (kernel[0], kernel[1])
        self.pool = nn.AvgPool2d(sides, divisor_override=1)  # the sum
        self.coefficient = nn.Parameter(torch.full((in_channels,), 1 / (sides[0] * sides[1])))
        self.bias = nn.Parameter(torch.zeros(in_channels))
        self.act = make_act(act)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.pool(x)  # (N, C, H / kernel, W / kernel)
        x = x * self.coefficient[:, None, None] + self.bias[:, None, None]
        return cast(Tensor, self.act(x))

    @staticmethod
    def cost(tally: Tally, kernel: Any, act: str) -> None:
        tally.window(kernel, kernel, 1, "valid")
        tally.params += 2 * tally.channels
        tally.keep()  # the sums, for the coefficient's gradient
        tally.keep()
        tally.activated = False
        tally.norm_act("none", act)


@operator("rbf")
class Rbf(nn.Module):
    """Minus the squared distance to a fixed code of +-1 for each class (LeCun et al. 1998, II.B).

    The nearest code has the largest logit, and cross entropy over them is the paper's criterion
    (equation 9) without its constant. For ten classes of 84 values the codes are digits of 7x12
    pixels, else drawn once and for all. They are buffers: kept with the weights, not trained.

    channels  how many codes; left out: one for each class of the data
    """

    def __init__(self, in_channels: int, channels: SameChannels = None) -> None:
        super().__init__()
        number = in_channels if channels is None else channels
        self.register_buffer("codes", torch.tensor(_codes(number, in_channels)))

    def forward(self, x: Tensor) -> Tensor:  # (N, C) or (N, C, 1, 1)
        x = x.flatten(1)
        codes = cast(Tensor, self.codes)  # (channels, C); each of square C
        squares = x.square().sum(1, keepdim=True) + x.shape[1]  # (N, 1)
        return 2 * F.linear(x, codes) - squares  # (N, channels)

    @staticmethod
    def cost(tally: Tally, channels: int) -> None:
        width = tally.channels
        need_vector(tally)
        if channels > 2 ** min(width, 64):
            raise Misfit(
                f"its input of {width} values has {2**width} codes, but there are {channels} "
                "classes; put a wider row {op: linear, channels: 84} before it"
            )
        tally.macs += channels * width
        tally.buffers += channels * width
        tally.kept += channels
        tally.channels, tally.flat, tally.activated = channels, True, False


def _codes(number: int, width: int) -> list[list[float]]:
    """So many different codes of +-1."""
    if (number, width) == (10, 84):
        lines = [line.split() for line in DIGITS.split("\n") if line]
        drawn = ["".join(line[digit] for line in lines) for digit in range(10)]
        return [[1.0 if pixel == "#" else -1.0 for pixel in pixels] for pixels in drawn]
    rng, found = random.Random(f"{number} codes of {width}"), dict[int, None]()
    while len(found) < number:
        found[rng.getrandbits(width)] = None
    return [[1.0 if bits >> k & 1 else -1.0 for k in range(width)] for bits in found]
