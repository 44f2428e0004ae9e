"""Budgets: which words are clear, what is refused and how, and money as device time."""

from __future__ import annotations

import pytest

from w2s_ray.config.budget import read_budget


@pytest.mark.parametrize("text", ["12 device-hours", "12.0device-hours", " 12 device-hour "])
def test_device_hours_need_no_price(text):
    budget = read_budget(text)
    assert budget.device_seconds == 12 * 3600
    assert budget.said == "12 device-hours"
    assert budget.spent(1800) == "0.5 of 12 device-hours spent"


def test_money_is_device_time_at_a_price():
    budget = read_budget("50 USD", price=2.5, currency="USD")
    assert budget.device_seconds == 20 * 3600
    assert budget.spent(3600 * 4) == "10.00 of 50 USD spent (4 device-hours)"


@pytest.mark.parametrize(
    ("text", "price", "said"),
    [
        ("50", None, "leaves open hours of what, or what; write '12 device-hours', or '50 USD'"),
        ("12h", None, "leaves open hours of what"),
        ("12 hours", 1.0, "leaves open hours of what"),
        ("much", None, "--budget is 'much'; write '12 device-hours'"),
        ("-1 device-hours", None, "--budget is '-1 device-hours'; write"),
        ("0 device-hours", None, "which is nothing"),
        ("50 USD", None, "no price in USD; add --accelerator NAME and --prices FILE"),
        ("50 EUR", 1.0, "the price file is in USD"),
        ("50 USD", 0.0, "a device costs nothing by the price file"),
        ("12 device-hours", 1.0, "--prices is given; say the budget in USD, or leave out --prices"),
    ],
)
def test_what_is_unclear_is_refused_with_the_remedy(text, price, said):
    with pytest.raises(ValueError, match=r"^--budget is") as refused:
        read_budget(text, price=price, currency="USD")
    assert said in str(refused.value)
