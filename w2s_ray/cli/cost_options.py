"""Parses the command-line options about devices, prices and budgets.

Owns the checks of these options. It computes no estimates.
"""

from __future__ import annotations

from pathlib import Path

from w2s_ray.config.accelerators import find_accelerator
from w2s_ray.config.budget import EXAMPLES, Budget, read_budget, read_price
from w2s_ray.errors import InputError
from w2s_ray.plan.estimates import Device


def device_of(name: str | None, file: Path | None, utilisation: float) -> Device | None:
    """The device in the options; None without --accelerator.

    Raises:
        InputError: an unknown accelerator, or options that need one.
    """
    if not 0 < utilisation <= 1:
        raise InputError(f"--utilisation is {utilisation}; give a share between 0 and 1, as 0.4")
    if name is None:
        if file is not None:
            raise InputError("--accelerators is about a device; add --accelerator NAME")
        return None
    return Device(name, find_accelerator(name, file=file), utilisation)


def budget_of(
    text: str | None, *, price_per_hour: float | None, currency: str | None
) -> Budget | None:
    """The budget in the options; None without --budget.

    Raises:
        InputError: an invalid budget, or one without the price that it needs.
    """
    price = read_price(price_per_hour, currency)
    if text is None:
        if price is not None:
            raise InputError(f"--price-per-hour is the price of a budget; add --budget: {EXAMPLES}")
        return None
    return read_budget(text, price=price)
