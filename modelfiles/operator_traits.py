"""Defines what is asked of an operator whatever its format: the formats' own tables say the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OperatorTraits:
    """Properties of one type of operator, as a format's table `OPERATORS` has them by the type's name.

    Attributes:
        channel_axis: the axis of the output channels in its weight, its second input; None without a weight.
        moves: it keeps the values that it passes on, perhaps not all of them: a constant may be behind it.
        rearranges: its result has the very numbers of its input, in another shape or order.
        activation: it is a non-linearity that changes one number at a time.
        uncounted: it multiplies and accumulates in a way that is not counted.
        approximate: how far its kernel of integers is from real arithmetic before it rounds, in steps of
            the result; within half a step, the result is one step off at most.
        whole_products: its kernel of integers rounds a sum of products to whole products of both steps,
            before it rounds to steps of the result.
    """

    channel_axis: int | None = None
    moves: bool = False
    rearranges: bool = False
    activation: bool = False
    uncounted: bool = False
    approximate: float = 0.0
    whole_products: bool = False
