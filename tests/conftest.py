"""Shared by several files: codes whose every property is known, a network of the smallest widths, a small disk, a folder that is taken."""

import subprocess
import sys

import pytest

HOLD = """
import sys, time
from pathlib import Path
from ternary_lib.files import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def codes():
    from lines import line_codes

    return line_codes()


@pytest.fixture(scope="module")
def model():
    from lines import generator
    from micro import micro_config

    from ternary_lib.model import TernaryVAE

    return TernaryVAE(micro_config().model, generator())


@pytest.fixture
def holder():
    """Starts a process that holds a folder; it is killed at the end."""
    from micro import ROOT

    started = []

    def hold(folder):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 16 MB that the test may fill; skipped where nothing may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here ({done.stderr.strip()})")
    yield place
    subprocess.run(["umount", str(place)], check=True)
