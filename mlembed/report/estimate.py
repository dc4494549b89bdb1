"""A measured value with its interval: what reports are made of, without the libraries that compute it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value, its 95 % interval, and the rows behind it; nan where it is not defined.

    Args:
        value: the value over all rows.
        low: the lower end of the interval.
        high: the upper end; an interval of width zero (every row right) says little where rows are few.
        count: the rows that the value comes from.
    """

    value: float
    low: float
    high: float
    count: int

    def overlaps(self, other: Estimate) -> bool:
        """Return whether the two intervals have a value in common; True where one of them is not known."""
        return not (self.low > other.high or self.high < other.low)
