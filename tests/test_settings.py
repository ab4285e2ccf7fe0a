"""The environment variables, as they are read: what is allowed, and one line for everything else."""

import pytest
from micro import ternary

from ternary_lib import settings
from ternary_lib.strict_yaml import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("DEVICE", "THREADS", "STEP", "PROGRESS"):
        monkeypatch.delenv(f"TERNARY_{name}", raising=False)


def test_what_holds_where_nothing_is_set(monkeypatch):
    monkeypatch.setattr(settings.os, "cpu_count", lambda: 12)
    assert (settings.device(), settings.threads(), settings.step(), settings.progress_file()) == ("cpu", 12, "auto", None)
    settings.check()


def test_what_is_set_holds(monkeypatch, tmp_path):
    for name, value in {"DEVICE": "cuda:1", "THREADS": "3", "STEP": "graph", "PROGRESS": str(tmp_path / "line")}.items():
        monkeypatch.setenv(f"TERNARY_{name}", value)
    assert (settings.device(), settings.threads(), settings.step()) == ("cuda:1", 3, "graph")
    assert settings.progress_file() == tmp_path / "line" and not (tmp_path / "line").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE", "abacus"), ("DEVICE", "cuda:"), ("DEVICE", "cuda:99"), ("THREADS", "0"), ("THREADS", "-1"), ("THREADS", "1.5"),
        ("STEP", "banana"), ("PROGRESS", "/nowhere/at/all"), ("PROGRESS", "/"), ("PROGRESS", "x" * 256),
    ],
)  # fmt: skip
def test_everything_else_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(f"TERNARY_{name}", value)
    with pytest.raises(ConfigError, match=rf"^TERNARY_{name}="):
        settings.check()


def test_a_terminal_without_greek_letters_gets_its_help():
    done = ternary("train", "--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and "--config" in done.stdout
    done = ternary("evaluate", "--checkpoint", "ternary_v5_5", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and "epoch 399, phase 4, ? =" in done.stdout
