"""Options about devices, prices and budgets: from text to checked values."""

from __future__ import annotations

from pathlib import Path

from w2s_ray.cli.estimate_view import Rate
from w2s_ray.config.budget import FORMS, Budget, read_budget
from w2s_ray.config.prices import accelerator as find_accelerator
from w2s_ray.config.prices import load_prices
from w2s_ray.errors import InputError
from w2s_ray.plan.estimates import Device


def device_and_rate(
    name: str | None,
    file: Path | None,
    utilisation: float,
    prices: Path | None,
    *,
    spot: bool,
) -> tuple[Device | None, Rate | None]:
    """The device and its price that the options name; None where they name none.

    Raises:
        InputError: an unknown accelerator, no price of it, or options that need another.
    """
    if not 0 < utilisation <= 1:
        raise InputError(f"--utilisation is {utilisation}; give a share between 0 and 1, as 0.4")
    if name is None:
        if prices is not None or file is not None or spot:
            raise InputError(
                "--prices, --accelerators and --spot are about a device; add --accelerator NAME"
            )
        return None, None
    device = Device(name, find_accelerator(name, file=file), utilisation)
    if prices is None:
        if spot:
            raise InputError("--spot is about prices; add --prices FILE")
        return device, None
    price_list, market = load_prices(prices), "spot" if spot else "on_demand"
    price = price_list.of(name, market)
    return device, Rate(price, price_list.currency, market, price_list.as_of)


def budget_of(
    text: str | None, *, accelerator: str | None, prices: Path | None, spot: bool
) -> Budget | None:
    """The budget that the options name; None where they name none.

    Raises:
        InputError: it is unclear, or a price is missing that it needs.
    """
    if text is None:
        if prices is not None or accelerator is not None or spot:
            raise InputError(
                f"--accelerator, --prices and --spot are about a budget; add --budget: {FORMS}"
            )
        return None
    if prices is None or accelerator is None:
        if prices is not None or accelerator is not None or spot:
            raise InputError(
                "a budget in money needs both --accelerator NAME and --prices FILE, one in "
                "device-hours neither"
            )
        return read_budget(text)
    price_list = load_prices(prices)
    price = price_list.of(accelerator, "spot" if spot else "on_demand")
    return read_budget(text, price=price, currency=price_list.currency)
