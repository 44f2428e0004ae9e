"""The price of device time, and the budget of a sweep, in device hours or in money.

Owns the parsing of the command-line options and the texts about a budget. A budget in money is
converted to device hours at one price for all devices. It measures no device time.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from w2s_ray.errors import InputError
from w2s_ray.printable import shown

DEVICE_HOURS = "device-hours"
EXAMPLES = f"write '12 {DEVICE_HOURS}', or '50 USD' with --price-per-hour 2.5 --currency USD"
_CURRENCY = re.compile(r"[^\W\d_]{1,20}")
_MOST = 1e12
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(\S.*?)?\s*")


@dataclass(frozen=True)
class Price:
    """The price of device time, the same for all devices."""

    per_hour: float
    """Price of one device for an hour."""
    currency: str

    def cost_of(self, device_seconds: float) -> float:
        """The cost of `device_seconds`."""
        return self.per_hour * device_seconds / 3600


def read_price(per_hour: float | None, currency: str | None) -> Price | None:
    """The price in the options --price-per-hour and --currency; None without them.

    Raises:
        InputError: one option without the other, or an invalid price or currency.
    """
    if per_hour is None and currency is None:
        return None
    if currency is None:
        raise InputError(
            f"--price-per-hour is {per_hour:g} without a currency; add --currency, for example USD"
        )
    if per_hour is None:
        raise InputError(f"--currency is {shown(currency)} without a price; add --price-per-hour")
    if not 0 < per_hour <= _MOST:  # refuses NaN too
        raise InputError(
            f"--price-per-hour is {per_hour:g}; give the price of one device for an hour, a number "
            f"above 0 and at most {_MOST:g}"
        )
    if not _CURRENCY.fullmatch(currency):
        raise InputError(
            f"--currency is {shown(currency)}; give its name in letters, for example USD"
        )
    return Price(per_hour, currency)


@dataclass(frozen=True)
class Budget:
    """The largest device time of a sweep."""

    amount: float
    unit: str
    """`device-hours`, or a currency."""
    price: float = 1.0
    """Price of a device hour in `unit`."""

    @property
    def text(self) -> str:
        """The whole budget, such as `50 USD`."""
        return f"{self.amount:,.6g} {self.unit}"

    @property
    def device_seconds(self) -> float:
        """The budget in device seconds."""
        return self.amount / self.price * 3600

    def spent(self, device_seconds: float) -> str:
        """A text with the spent device time and the whole budget."""
        hours = device_seconds / 3600
        if self.unit == DEVICE_HOURS:
            return f"{hours:,.4g} of {self.text} spent"
        cost = hours * self.price
        return f"{cost:,.2f} of {self.text} spent ({hours:,.4g} {DEVICE_HOURS})"


def read_budget(text: str, *, price: Price | None = None) -> Budget:
    """The budget in `text`, in device hours or in the currency of `price`.

    Raises:
        InputError: an invalid amount, or a missing, ambiguous or unknown unit.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise InputError(f"--budget is {shown(text)}; {EXAMPLES}")
    amount, unit = float(form[1]), form[2]
    if not 0 < amount < math.inf:
        problem = "nothing" if amount == 0 else "no limit"
        raise InputError(f"--budget is {shown(text)}, which is {problem}; {EXAMPLES}")
    if unit in (DEVICE_HOURS, DEVICE_HOURS.removesuffix("s")):
        if price is not None:
            raise InputError(
                f"--budget is {shown(text)} and --price-per-hour is given; give the budget in "
                f"{price.currency}, or omit --price-per-hour and --currency"
            )
        return Budget(amount, DEVICE_HOURS)
    if unit is None or unit.lower() in ("h", "hour", "hours", "gpu-hours", "gpu hours"):
        raise InputError(f"--budget is {shown(text)}, without a clear unit; {EXAMPLES}")
    if price is None:
        raise InputError(
            f"--budget is {shown(text)}, but there is no price in {shown(unit)}; add "
            f"--price-per-hour and --currency, or give the budget in {DEVICE_HOURS}"
        )
    if unit != price.currency:
        raise InputError(
            f"--budget is {shown(text)}, but --currency is {price.currency}; use one currency"
        )
    return Budget(amount, unit, price.per_hour)
