"""How many rows of each kind: a total shared out over splits, or over the levels of a hierarchy."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from hashlib import blake2b
from math import floor


def share_out(total: int, capacities: Sequence[int], weights: Sequence[float] | None = None) -> list[int]:
    """Give each its share of a total; what one has no room for goes to the others (water-filling).

    With equal shares a larger total gives nobody less, so that a smaller sample is a part of a larger one.

    Args:
        capacities: The most that each can take.
        weights: Shares, relative to each other; None is equal ones.

    Returns:
        Shape of `capacities`; the sum is `total`, or that of all capacities where this is less. What is left
        when no further whole share can be given goes to the first.
    """
    parts = [Fraction(str(weight)) for weight in weights] if weights else [Fraction(1)] * len(capacities)
    counts = [0] * len(capacities)
    rest, is_open = min(total, sum(capacities)), dict(enumerate(parts))
    while is_open:
        level = Fraction(rest) / sum(is_open.values())
        full = [place for place, part in is_open.items() if capacities[place] <= level * part]
        if not full:
            break
        for place in full:
            counts[place] = capacities[place]
            rest -= capacities[place]
            del is_open[place]
    for place, part in is_open.items():
        counts[place] = floor(level * part)
    left = rest - sum(counts[place] for place in is_open)
    for place in list(is_open)[:left]:
        counts[place] += 1
    return counts


def balance(strata: Sequence[tuple[str, ...]], sizes: Sequence[int], total: int, *, seed: int) -> list[int]:
    """Share a total out over strata: equally at each level of their names, as far as their rows go.

    Odd rows go to places in a seeded random order, another one in every branch, so that they add up to no
    preference for the names that come first.

    Args:
        strata: Names, all of one length; the first level is shared out first.
        sizes: Rows of each.

    Returns:
        Rows to take of each stratum; the sum is `total`, or all rows where there are fewer.
    """
    depth = len(strata[0]) if strata else 0
    room: Counter[tuple[str, ...]] = Counter()
    children: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for stratum, size in zip(strata, sizes, strict=True):
        for level in range(depth + 1):
            room[stratum[:level]] += size
        for level in range(depth):
            children[stratum[:level]].add(stratum[: level + 1])
    shares: dict[tuple[str, ...], int] = {(): min(total, room[()])}
    for level in range(depth):
        for branch in [name for name in shares if len(name) == level]:
            ordered = sorted(children[branch], key=lambda name: _shuffle_key(name, seed))
            given = share_out(shares[branch], [room[name] for name in ordered])
            shares |= zip(ordered, given, strict=True)
    return [shares[stratum] for stratum in strata]


def _shuffle_key(name: tuple[str, ...], seed: int) -> bytes:
    return blake2b("\0".join(name).encode(), key=str(seed).encode()).digest()
