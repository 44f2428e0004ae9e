"""What a search may try for one setting.

Owns the distributions of a search space. It proposes nothing: samplers live where studies run.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from w2s_ray.spec.settings import Frozen

Value = bool | int | float | str | None


class Distribution(Frozen):
    """Values to try for one setting: exactly one of the four forms."""

    uniform: tuple[float, float] | None = None
    """Any float between the two bounds."""
    loguniform: tuple[float, float] | None = None
    """Any float between the two bounds, uniform in its logarithm."""
    integer: tuple[int, int] | None = None
    """Any integer from the first to the last bound."""
    choice: tuple[Value, ...] | None = Field(default=None, min_length=1)
    """One of the values."""

    @model_validator(mode="after")
    def _one_form(self) -> Distribution:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of uniform, loguniform, integer, choice (got {given or 'none'})"
            )
        bounds = self.uniform or self.loguniform or self.integer
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"{given[0]}: {list(bounds)} is no range; write [low, high]")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise ValueError(f"loguniform: {list(self.loguniform)} must lie above 0")
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values that stand for the whole: the bounds, or every choice."""
        return self.choice or self.uniform or self.loguniform or self.integer or ()

    def grid(self) -> tuple[Any, ...] | None:
        """Every value, or None where there are infinitely many."""
        if self.integer is not None:
            return tuple(range(self.integer[0], self.integer[1] + 1))
        return self.choice
