"""Ray's vital processes are lost while Ray starts: one line, another try, and the sweep is done."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import sweep_text

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.parametrize("title", ["gcs_server", "raylet"])
@pytest.mark.parametrize("later_s", [0.0, 0.5, 2.0])
def test_the_loss_of_a_vital_process_at_the_start_is_survived(
    tmp_path: Path, title: str, later_s: float
):
    sweep = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path).replace("seeds: [0, 1]", "seeds: [0]")
    sweep.write_text(text.replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]"))
    log = tmp_path / "log"
    with log.open("wb") as file:
        driver = subprocess.Popen(
            [sys.executable, "-m", "w2s_ray", "run", str(sweep)], stdout=file, stderr=file
        )
    lost = begun(driver, title)
    time.sleep(later_s)
    lost.kill()
    assert driver.wait(timeout=400) == 0, log.read_text()
    output = log.read_text()
    assert f"Ray's {title} on this machine has died: restarting" in output
    assert "Traceback" not in output
    assert "3 of 3 planned runs" in output


def begun(driver: subprocess.Popen[bytes], title: str) -> psutil.Process:
    """The first process of this title under the driver, at the moment that it is there."""
    while driver.poll() is None:
        for child in psutil.Process(driver.pid).children():
            if child.name() == title:
                return child
        time.sleep(0.01)
    raise AssertionError(f"the driver ended before its {title} was there")
