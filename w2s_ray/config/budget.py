"""A budget: what a sweep may spend, in device hours or in money.

Owns its form on the command line and its words. A budget in money is one in device hours at one
price. It counts nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from w2s_ray.errors import InputError

DEVICE_HOURS = "device-hours"
FORMS = f"write '12 {DEVICE_HOURS}', or '50 USD' with --accelerator NAME and --prices FILE"
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\S.*?)?\s*")


@dataclass(frozen=True)
class Budget:
    """What a sweep may spend."""

    amount: float
    unit: str
    """`device-hours`, or a currency."""
    price: float = 1.0
    """Of a device hour, in `unit`."""

    @property
    def said(self) -> str:
        """All of it in words."""
        return f"{self.amount:,.6g} {self.unit}"

    @property
    def device_seconds(self) -> float:
        """As device time."""
        return self.amount / self.price * 3600

    def spent(self, device_seconds: float) -> str:
        """So much device time in words, beside the whole."""
        hours = device_seconds / 3600
        of = f"{hours * self.price:,.2f} of {self.said} spent"
        if self.unit == DEVICE_HOURS:
            return f"{hours:,.4g} of {self.said} spent"
        return f"{of} ({hours:,.4g} {DEVICE_HOURS})"


def read_budget(text: str, *, price: float | None = None, currency: str = "") -> Budget:
    """The budget that `text` says; `price` is that of a device hour, in `currency`.

    Raises:
        InputError: it has no unit, an unclear one, or one that there is no price in.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise InputError(f"--budget is {text!r}; {FORMS}")
    amount, unit = float(form[1]), form[2]
    if amount <= 0:
        raise InputError(f"--budget is {text!r}, which is nothing; {FORMS}")
    if unit in (DEVICE_HOURS, DEVICE_HOURS.removesuffix("s")):
        if price is not None:
            raise InputError(
                f"--budget is {text!r} and --prices is given; say the budget in {currency}, or "
                "leave out --prices"
            )
        return Budget(amount, DEVICE_HOURS)
    if unit is None or unit.lower() in ("h", "hour", "hours", "gpu-hours", "gpu hours"):
        raise InputError(f"--budget is {text!r}, which leaves open hours of what, or what; {FORMS}")
    if price is None:
        raise InputError(
            f"--budget is {text!r}, and there is no price in {unit}; add --accelerator NAME and "
            f"--prices FILE, or say it in {DEVICE_HOURS}"
        )
    if unit != currency:
        raise InputError(f"--budget is {text!r}, and the price file is in {currency}; say it so")
    if not price:
        raise InputError(
            f"--budget is {text!r}, and a device costs nothing by the price file; say it in "
            f"{DEVICE_HOURS}, or correct the price"
        )
    return Budget(amount, unit, price)
