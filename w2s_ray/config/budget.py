"""The price of device time, and a budget: what a sweep may spend, in device hours or in money.

Owns their form on the command line and their words. A budget in money is one in device hours at
the one price. It counts nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from w2s_ray.errors import InputError
from w2s_ray.printable import shown

DEVICE_HOURS = "device-hours"
FORMS = f"write '12 {DEVICE_HOURS}', or '50 USD' with --price-per-hour 2.5 --currency USD"
_CURRENCY = re.compile(r"[^\W\d_]{1,20}")
_MOST = 1e12
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\S.*?)?\s*")


@dataclass(frozen=True)
class Price:
    """What device time costs, whatever the device."""

    per_hour: float
    currency: str

    def of(self, device_seconds: float) -> float:
        """What so much device time costs."""
        return self.per_hour * device_seconds / 3600


def read_price(per_hour: float | None, currency: str | None) -> Price | None:
    """The price that --price-per-hour and --currency name; None where they name none.

    Raises:
        InputError: one without the other, a number that is no price, or a currency without a name.
    """
    if per_hour is None and currency is None:
        return None
    if currency is None:
        raise InputError(f"--price-per-hour is {per_hour:g} of what? add --currency, as in USD")
    if per_hour is None:
        raise InputError(f"--currency is {shown(currency)} of no price; add --price-per-hour")
    if not 0 < per_hour <= _MOST:  # refuses NaN too
        raise InputError(
            f"--price-per-hour is {per_hour:g}; give the price of one device for an hour, a number "
            f"above 0 and at most {_MOST:g}"
        )
    if not _CURRENCY.fullmatch(currency):
        raise InputError(f"--currency is {shown(currency)}; give its name in letters, as in USD")
    return Price(per_hour, currency)


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


def read_budget(text: str, *, price: Price | None = None) -> Budget:
    """The budget that `text` says, in device hours or at `price`.

    Raises:
        InputError: it has no unit, an unclear one, or one that there is no price in.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise InputError(f"--budget is {shown(text)}; {FORMS}")
    amount, unit = float(form[1]), form[2]
    if not 0 < amount < math.inf:
        much = "nothing" if amount == 0 else "no limit"
        raise InputError(f"--budget is {shown(text)}, which is {much}; {FORMS}")
    if unit in (DEVICE_HOURS, DEVICE_HOURS.removesuffix("s")):
        if price is not None:
            raise InputError(
                f"--budget is {shown(text)} and --price-per-hour is given; say the budget in "
                f"{price.currency}, or leave out --price-per-hour and --currency"
            )
        return Budget(amount, DEVICE_HOURS)
    if unit is None or unit.lower() in ("h", "hour", "hours", "gpu-hours", "gpu hours"):
        raise InputError(
            f"--budget is {shown(text)}, which leaves open hours of what, or what; {FORMS}"
        )
    if price is None:
        raise InputError(
            f"--budget is {shown(text)}, and there is no price in {shown(unit)}; add "
            f"--price-per-hour and --currency, or say it in {DEVICE_HOURS}"
        )
    if unit != price.currency:
        raise InputError(
            f"--budget is {shown(text)}, and --currency is {price.currency}; name one currency"
        )
    return Budget(amount, unit, price.per_hour)
