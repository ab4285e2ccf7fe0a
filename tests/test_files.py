"""A folder that one process at a time writes, and disks that are full or read-only: one clear line, nothing lost."""

import json
import multiprocessing
import os
import signal
import subprocess

import pytest
from micro import OVERRIDES, micro_arguments, micro_config, ternary

from ternary_lib import checkpoint
from ternary_lib.config import ConfigError
from ternary_lib.files import claimed
from ternary_lib.records import read_json
from ternary_lib.training import train


def test_a_folder_is_held_against_another_process_until_that_one_is_killed(tmp_path, holder):
    process = holder(tmp_path / "run")
    with pytest.raises(ConfigError, match="another process is at work there"), claimed(tmp_path / "run"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with claimed(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path / "run") == []


def test_what_only_looks_like_it_stays(tmp_path):
    (tmp_path / ".notes.tmp").write_bytes(b"mine")
    (tmp_path / ".cache.1.tmp").mkdir()
    with claimed(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".cache.1.tmp", ".lock", ".notes.tmp"]


def test_what_a_killed_process_left_half_written_is_removed_by_the_next(tmp_path):
    (tmp_path / ".last.safetensors.123.tmp").write_bytes(b"half")
    (tmp_path / "last.safetensors").write_bytes(b"whole")
    with claimed(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".lock", "last.safetensors"]


def _claim(folder, barrier, results):
    barrier.wait()
    try:
        with claimed(folder):
            results.put("held")
            barrier.wait()  # the other has been refused by now
    except ConfigError:
        results.put("refused")
        barrier.wait()


def test_of_two_at_the_same_moment_exactly_one_gets_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    both = [context.Process(target=_claim, args=(tmp_path, barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert sorted(results.get(timeout=60) for _ in both) == ["held", "refused"]
    for process in both:
        process.join(timeout=60)
        assert process.exitcode == 0


def test_a_second_training_in_the_same_directory_is_refused_and_the_first_is_left_alone(tmp_path, holder):
    holder(tmp_path / "run")
    arguments = micro_arguments("--run-dir", tmp_path / "run", "--resume", "--quiet")
    second = ternary(*arguments)
    assert (second.returncode, second.stdout) == (2, "")
    assert "another process is at work there" in second.stderr and second.stderr.count("\n") == 1
    assert os.listdir(tmp_path / "run") == [".lock"]


def test_a_full_disk_ends_training_with_one_line_and_what_was_saved_goes_on_elsewhere(small_disk, tmp_path):
    config = micro_config()
    whole = train(config, tmp_path / "whole", progress=False)
    one = (tmp_path / "whole" / "last.safetensors").stat().st_size
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 7 * one // 2))  # the second epoch's do not fit
    done = ternary(*micro_arguments("--run-dir", small_disk / "run", "--quiet"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be written (No space left on device); nothing that was saved is lost" in done.stderr and done.stderr.count("\n") == 1
    assert not list((small_disk / "run").glob(".*.tmp"))
    filler.unlink()
    _, meta = checkpoint.load(small_disk / "run" / "last.safetensors")
    assert 1 <= meta["epoch"] < config.schedules.total_epochs
    resumed = train(config, small_disk / "run", resume=True, progress=False)
    assert resumed.record["weights_sha256"] == whole.record["weights_sha256"]


def test_a_read_only_disk_is_refused_in_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = ternary(*micro_arguments("--run-dir", small_disk / "run", "--quiet"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "cannot be written (Read-only file system)" in done.stderr


# ------------------------------------------------------------------------------------------------- sweep and book

def sweep_file(folder):
    """A sweep of one variant on two seeds, a second each."""
    given = {key: value for key, value in OVERRIDES.items() if key != "name"}
    path = folder / "small.yaml"
    path.write_text(json.dumps({"name": "small", "config": "configs/smoke.yaml", "seeds": [0, 1], "variants": {"one": {}}, "set": given}))
    return path


def test_a_full_disk_ends_a_sweep_with_one_line_and_it_goes_on_once_there_is_room(small_disk, tmp_path):
    path, filler = sweep_file(tmp_path), small_disk / "filler"
    assert ternary("sweep", path, "--output", tmp_path / "whole", "--jobs", "1", "--quiet").returncode == 0
    free = os.statvfs(small_disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 4 * 2**20))  # a run's first checkpoint fits, its others do not
    done = ternary("sweep", path, "--output", small_disk, "--jobs", "1", "--quiet")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    assert not list(small_disk.rglob(".*.tmp"))
    filler.unlink()
    assert ternary("sweep", path, "--output", small_disk, "--jobs", "1", "--quiet").returncode == 0
    for record in (tmp_path / "whole" / "small").iterdir():
        again = read_json(small_disk / "small" / record.name)
        assert again["weights_sha256"] == read_json(record)["weights_sha256"]
    assert sorted(os.listdir(small_disk / "small")) == sorted(os.listdir(tmp_path / "whole" / "small"))
