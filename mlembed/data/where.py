"""Keeps the rows whose columns have given values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Where:
    """A condition on columns.

    Args:
        columns: column -> allowed values, as text; a file without the column is not restricted by it.
    """

    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def keeps(self, values: Mapping[str, object]) -> bool:
        """Whether a record with these values is kept."""
        return all(column not in values or str(values[column]) in allowed for column, allowed in self.columns.items())


def make_where(conditions: Mapping[str, object]) -> Where:
    """A condition from a configuration: `{domain: news}` or `{domain: [news, talks]}`."""
    return Where(
        {
            column: frozenset(str(value) for value in (values if isinstance(values, list) else [values]))
            for column, values in conditions.items()
        }
    )
