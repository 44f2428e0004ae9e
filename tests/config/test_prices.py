"""Accelerators and prices: what ships, what a user adds, and what is wrong in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from w2s_ray.config.prices import accelerator, load_prices

EXAMPLE = Path(__file__).parents[2] / "docs" / "prices.example.yaml"


def test_an_unknown_accelerator_is_told_the_nearest():
    assert accelerator("H100").memory_gb == 80
    assert accelerator("H100").flops("bf16") == pytest.approx(989e12)
    assert accelerator("T4").flops("bf16") is None
    with pytest.raises(ValueError, match=r"no accelerator 'h100'; did you mean H100\?"):
        accelerator("h100")


def test_a_file_adds_accelerators_and_replaces_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("accelerators:\n  mine: {fp32_tflops: 1, memory_gb: 2}\n")
    assert accelerator("mine", file=file).bytes == 2e9
    assert accelerator("L4", file=file).memory_gb == 24


def test_the_example_file_is_read_and_says_that_it_is_one():
    prices = load_prices(EXAMPLE)
    assert "replace" in prices.as_of
    assert set(prices.per_device_hour) <= {"H100", "A100-80G", "L4"}
    for name in prices.per_device_hour:
        assert accelerator(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("currency: USD\nper_device_hour: {H100: {on_demand: -1}}", "2: per_device_hour.H100.on"),
        ("currency: USD\nper_device_hour: {H100: {}}", "give on_demand, spot or both"),
        ("currency: USD\nper_device_hours: {}", "2: per_device_hours: unknown key"),
        ("per_device_hour: {H100: {spot: 1}}", "currency: missing; add it"),
        ("- a", "1: a price file is a mapping with currency and per_device_hour"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_an_error_names_the_line_the_key_and_the_remedy(tmp_path, text, words):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"prices\.yaml") as error:
        load_prices(file)
    assert words in str(error.value)


def test_a_price_that_is_not_there_is_said(tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text("currency: EUR\nper_device_hour: {H100: {spot: 1.5}}")
    prices = load_prices(file)
    assert prices.of("H100", "spot") == 1.5
    with pytest.raises(ValueError, match=r"per_device_hour\.H100 has no on_demand price"):
        prices.of("H100", "on_demand")
    with pytest.raises(ValueError, match="no accelerator 'H200'; did you mean H100"):
        prices.of("H200", "spot")
    with pytest.raises(ValueError, match="no price file at"):
        load_prices(tmp_path / "nowhere.yaml")
