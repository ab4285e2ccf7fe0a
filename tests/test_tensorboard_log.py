"""TensorBoard's event files: every number of the history, one whole run a folder, one clear line where the package is missing."""

import os
import sys

import pytest
from micro import micro_arguments, micro_config

from ternary_lib.cli import main
from ternary_lib.strict_yaml import InputError
from ternary_lib.tensorboard_log import TensorBoardLog, tag
from ternary_lib.training import train


def events(folder):
    """What TensorBoard itself reads: tag -> (steps, values)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {name: tuple(zip(*((e.step, e.value) for e in found.Scalars(name)), strict=True)) for name in found.Tags()["scalars"]}


def assert_shows(folder, history):
    """The folder shows this history, all of it and once."""
    shown = events(folder)
    assert set(shown) == {tag(name) for name in history}
    for name, values in history.items():
        steps, written = shown[tag(name)]
        assert list(steps) == history["epoch"], name
        assert list(written) == pytest.approx(values, rel=1e-6, abs=1e-30), name  # event files hold single precision


def test_every_number_of_the_history_is_written(tmp_path):
    pytest.importorskip("tensorboard")
    assert main([*micro_arguments("--run-dir", tmp_path / "run", "--quiet"), "--tensorboard", str(tmp_path / "events")]) == 0
    run = train(micro_config(), tmp_path / "run", resume=True, progress=False)
    assert run.epochs_trained_now == 0 and len(run.history["epoch"]) == 4
    assert_shows(tmp_path / "events", run.history)


def test_watching_changes_no_bit(tmp_path):
    seen = []
    watched = train(micro_config(), tmp_path / "watched", progress=False, observe=lambda history: seen.append(len(history["epoch"])))
    alone = train(micro_config(), tmp_path / "alone", progress=False)
    assert watched.record["weights_sha256"] == alone.record["weights_sha256"] and watched.history == alone.history
    assert seen == [1, 2, 3, 4]


def test_a_finished_run_is_shown_without_training(tmp_path):
    run, seen = train(micro_config(), tmp_path, progress=False), []
    again = train(micro_config(), tmp_path, resume=True, progress=False, observe=seen.append)
    assert again.epochs_trained_now == 0 and seen == [run.history]


def test_a_resumed_run_is_shown_whole_and_once(tmp_path):
    pytest.importorskip("tensorboard")
    history = {"epoch": [0, 1, 2, 3], "train.total": [4.0, 3.0, 2.0, 1.0]}
    for epochs in (2, 4):  # interrupted after two epochs; then another process goes on
        log = TensorBoardLog(tmp_path)
        for done in range(1 if epochs == 2 else 3, epochs + 1):
            log({name: values[:done] for name, values in history.items()})
        log.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert_shows(tmp_path, history)


@pytest.mark.parametrize("target", ["events", "nowhere"])
def test_a_link_that_leads_nowhere_is_refused_before_any_training(tmp_path, capsys, target):
    (tmp_path / "events").symlink_to(tmp_path / target)
    assert main([*micro_arguments("--run-dir", tmp_path / "run"), "--tensorboard", str(tmp_path / "events")]) == 2
    assert "is no folder" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_without_the_package_there_is_one_clear_line_and_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delattr("torch.utils.tensorboard", raising=False)
    assert main([*micro_arguments("--run-dir", tmp_path / "run"), "--tensorboard", str(tmp_path / "events")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("error: ") and "pip install -e '.[tensorboard]'" in err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_for_the_log_is_one_line_and_the_run_is_saved(small_disk, tmp_path, capfd):
    pytest.importorskip("tensorboard")
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize - 4096))
    assert main([*micro_arguments("--run-dir", tmp_path / "run", "--quiet"), "--tensorboard", str(small_disk / "events")]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "No space left on device" in err and "goes on with --resume" in err
    assert (tmp_path / "run" / "last.safetensors").is_file()


def test_a_folder_that_cannot_be_made(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        TensorBoardLog(tmp_path / "file" / "events")
