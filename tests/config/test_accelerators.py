"""Accelerators: what ships, what a user adds, and what is wrong in a file."""

from __future__ import annotations

import pytest

from w2s_ray.config.accelerators import accelerator_of_device, find_accelerator


def test_an_unknown_accelerator_gives_the_nearest_name():
    assert find_accelerator("H100").memory_gb == 80
    assert find_accelerator("H100").flops("bf16") == pytest.approx(989e12)
    assert find_accelerator("A100-80G").flops("tf32") == pytest.approx(156e12)
    assert find_accelerator("T4").flops("bf16") is find_accelerator("T4").flops("tf32") is None
    with pytest.raises(ValueError, match=r"no accelerator 'h100'; did you mean H100\?"):
        find_accelerator("h100")


def test_a_file_adds_accelerators_and_replaces_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("accelerators:\n  mine: {fp32_tflops: 1, memory_gb: 2}\n")
    assert find_accelerator("mine", file=file).bytes == 2e9
    assert find_accelerator("L4", file=file).memory_gb == 24


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("accelerators: {mine: {fp32_tflops: -1, memory_gb: 2}}", "1: accelerators.mine.fp32"),
        ("accelerators: {mine: {fp32_tflops: 1}}", "memory_gb: missing; add it"),
        ("accelerator: {}", "1: accelerator: unknown key"),
        ("- a", "1: a file of accelerators is a mapping with accelerators"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_an_error_names_the_line_the_key_and_the_remedy(tmp_path, text, words):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml") as error:
        find_accelerator("mine", file=file)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100-40G"),
        ("NVIDIA A100 80GB PCIe", "A100-80G"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA GeForce RTX 4090", None),
        ("cpu", None),
    ],
)
def test_a_drivers_name_of_a_device_is_recognised(device, name):
    assert accelerator_of_device(device) == (None if name is None else find_accelerator(name))
