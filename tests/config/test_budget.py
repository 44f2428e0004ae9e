"""Budgets: which words are clear, what is refused and how, and money as device time."""

from __future__ import annotations

import pytest

from w2s_ray.config.budget import Price, read_budget, read_price
from w2s_ray.errors import InputError


@pytest.mark.parametrize("text", ["12 device-hours", "12.0device-hours", " 12 device-hour "])
def test_device_hours_need_no_price(text):
    budget = read_budget(text)
    assert budget.device_seconds == 12 * 3600
    assert budget.text == "12 device-hours"
    assert budget.spent(1800) == "0.5 of 12 device-hours spent"


def test_money_is_device_time_at_a_price():
    budget = read_budget("50 USD", price=Price(2.5, "USD"))
    assert budget.device_seconds == 20 * 3600
    assert budget.spent(3600 * 4) == "10.00 of 50 USD spent (4 device-hours)"


@pytest.mark.parametrize(
    ("text", "price", "message"),
    [
        ("50", None, "without a clear unit; write '12 device-hours', or '50 USD'"),
        ("12h", None, "without a clear unit"),
        ("12 hours", 1.0, "without a clear unit"),
        ("much", None, "--budget is 'much'; write '12 device-hours'"),
        ("-1 device-hours", None, "--budget is '-1 device-hours'; write"),
        ("0 device-hours", None, "which is nothing"),
        ("9" * 400 + " USD", 1.0, "which is no limit"),
        ("nan USD", 1.0, "--budget is 'nan USD'; write"),
        ("inf device-hours", None, "--budget is 'inf device-hours'; write"),
        ("50 USD", None, "no price in 'USD'; add --price-per-hour and --currency"),
        ("50 EUR", 1.0, "but --currency is USD; use one currency"),
        ("50 usd", 1.0, "but --currency is USD; use one currency"),
        ("12 device-hours", 1.0, "give the budget in USD, or omit --price-per-hour and --currency"),
    ],
)
def test_an_invalid_budget_is_refused_with_the_remedy(text, price, message):
    with pytest.raises(ValueError, match=r"^--budget is") as refused:
        read_budget(text, price=None if price is None else Price(price, "USD"))
    assert message in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_price_is_per_device_hour():
    price = read_price(2.5, "USD")
    assert price == Price(2.5, "USD")
    assert price.cost_of(7200) == 5
    assert read_price(None, None) is None


@pytest.mark.parametrize(
    ("per_hour", "currency", "message"),
    [
        (-1.0, "USD", "--price-per-hour is -1; give the price of one device for an hour"),
        (0.0, "USD", "--price-per-hour is 0; give"),
        (float("nan"), "USD", "--price-per-hour is nan; give"),
        (float("inf"), "USD", "--price-per-hour is inf; give"),
        (float("-inf"), "USD", "--price-per-hour is -inf; give"),
        (1e300, "USD", "a number above 0 and at most 1e+12"),
        (2.5, None, "--price-per-hour is 2.5 without a currency; add --currency"),
        (None, "USD", "--currency is 'USD' without a price; add --price-per-hour"),
        (2.5, "", "--currency is ''; give its name in letters"),
        (2.5, "$", "--currency is '$'; give its name in letters"),
        (2.5, "device-hours", "give its name in letters"),
        (2.5, "U\nSD", "give its name in letters"),
        (2.5, "x" * 5000, "give its name in letters"),
    ],
)
def test_an_invalid_price_is_refused_in_one_line(per_hour, currency, message):
    with pytest.raises(InputError) as refused:
        read_price(per_hour, currency)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
