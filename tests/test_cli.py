"""The command line as a user meets it: help, bad input, clean output."""

import json
import os
import shlex
import signal
import sys
import time

import pytest
from micro import micro_arguments, ternary

from ternary_lib import __main__
from ternary_lib.checkpoint import save
from ternary_lib.cli import main
from ternary_lib.strict_yaml import print_error


def assert_one_clear_line(done, *words):
    """Exit status 2, one line on stderr, no traceback, every word in it."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
    assert done.stdout == ""


def test_help_lists_what_works_and_is_quick():
    started = time.perf_counter()
    done = ternary("--help")
    assert done.returncode == 0
    for name in ("train", "evaluate", "latent", "benchmark", "notebook", "book"):
        assert f"    {name}" in done.stdout
    assert time.perf_counter() - started < 10  # it must not load torch; a busy machine gets leeway


def test_help_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, ternary_lib.cli as c; c.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--config", "configs/smoek.yaml"], ["did you mean 'configs/smoke.yaml'"]),
        (["train", "--config", "configs/smoke.yaml", "--set", "schedules.tau_a.perod=3"], ["schedules.tau_a.perod", "'period'"]),
        (["train", "--config", "configs/smoke.yaml", "--set", "seed=x"], ["seed", "integer"]),
        (["train", "--config", "configs/smoke.yaml", "--set", "seed"], ["KEY=VALUE"]),
        (["train", "--config", "configs/smoke.yaml", "--set", "seed=[1"], ["--set seed=[1"]),
        (["train", "--config", "README.md"], ["README.md"]),
        (["evaluate", "--checkpoint", "nowhere.safetensors"], ["no such checkpoint"]),
        (["evaluate", "--checkpoint", "README.md"], ["not a readable checkpoint"]),
        (["notebook", "03_training", "-p", "sede", "1"], ["sede", "seed"]),
    ],
)
def test_bad_input(arguments, words):
    assert_one_clear_line(ternary(*arguments), *words)


def test_bad_environment(tmp_path):
    done = ternary(*micro_arguments("--run-dir", tmp_path / "run"), TERNARY_DEVICE="abacus")
    assert_one_clear_line(done, "TERNARY_DEVICE=abacus")
    assert_one_clear_line(ternary(*micro_arguments("--run-dir", tmp_path / "run"), TERNARY_DEVICE="meta"), "TERNARY_DEVICE=meta")


def test_hostile_checkpoints(tmp_path):
    import pickle

    import torch

    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"model": [1, 2, 3]}))
    (tmp_path / "cut.safetensors").write_bytes(b"\x00\x01")
    save(tmp_path / "foreign.safetensors", {"model/x": torch.zeros(3)}, {"config": {}})
    save(tmp_path / "no_config.safetensors", {}, {"hello": 1})
    for name in ("pickle", "cut", "foreign", "no_config"):
        assert_one_clear_line(ternary("evaluate", "--checkpoint", tmp_path / f"{name}.safetensors"), name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: COMMAND; see: ternary --help"),
        (["trian"], "invalid choice: 'trian'"),
        (["train"], "required: --config; see: ternary train --help"),
        (["train", "--config", "configs/smoke.yaml", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["train", "--config", "configs/smoke.yaml", "a\nb\x1b[31mred"], "unrecognized arguments: a b\\x1b[31mred"),
        (["train", "--config", "configs/smoke.yaml", "--seed", "9" * 5000 + "x"], "invalid int value: '999"),
        (["benchmark", "--config", "configs/smoke.yaml", "--seed", "[1"], "argument --seed: invalid int value: '[1'"),
        (["sweep", "--jobs"], "argument --jobs: expected one argument; see: ternary sweep --help"),
    ],
)
def test_arguments_that_are_none_get_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert (stopped.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and words in err


@pytest.mark.parametrize(
    "meta", [[], None, {}, {"epoch": 1, "config": {}, "source_hash": "0", "started": "", "seconds": {}, "untrained": {}}]
)
def test_resuming_from_a_hostile_checkpoint(tmp_path, meta):
    import torch

    save(tmp_path / "last.safetensors", {"model/x": torch.zeros(3)}, meta)
    (tmp_path / "record.json").write_text("{}")
    assert_one_clear_line(ternary(*micro_arguments("--run-dir", tmp_path, "--resume")), "checkpoint")


@pytest.mark.parametrize("threads", ["0", "two", "²"])
def test_bad_number_of_threads(tmp_path, threads):
    assert_one_clear_line(ternary(*micro_arguments("--run-dir", tmp_path / "run"), TERNARY_THREADS=threads), "TERNARY_THREADS")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["model.latent_dim=100000000000", "training.batch_size=1e30", "data.validation=0"])
def test_numbers_no_machine_can_hold(setting):
    assert_one_clear_line(ternary("train", "--config", "configs/smoke.yaml", "--set", setting), setting.split("=")[0])


def test_unwritable_run_directory(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert_one_clear_line(ternary(*micro_arguments("--run-dir", tmp_path / "file" / "run")), "cannot be written")


def test_output_of_training_is_one_clean_line_and_one_for_each_collapsed_pathway(tmp_path):
    done = ternary(*micro_arguments("--run-dir", tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Trained just now: micro, seed 42, 4 epochs")
    _, *warnings = done.stderr.strip().splitlines()
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert warnings == [f"warning: {line}" for line in record["warnings"]]
    assert [line[9:18] for line in warnings] == ["pathway A", "pathway B"]  # four epochs are too few for codes to form
    assert done.stdout.startswith("Record: ")


def test_an_interrupted_training_says_how_it_goes_on(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ternary_lib.training.train", interrupt)
    given = ["train", "--config", "configs/smoke.yaml", "--seed", "7", "--set", "schedules.rho={start: 0.2}", "--run-dir", "/tmp/a b"]
    assert main(given) == 130
    hint = capsys.readouterr().err.strip().partition("go on with: ")[2]
    assert shlex.split(hint) == ["ternary", *given, "--resume"]
    assert main([*given, "--resume"]) == 130 and capsys.readouterr().err.count("--resume") == 1


@pytest.mark.parametrize(("error", "status"), [(MemoryError(), 1), (RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore"), 1)])
def test_too_little_memory_is_one_line(monkeypatch, capsys, error, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("ternary_lib.training.train", fail)
    assert main(["train", "--config", "configs/smoke.yaml", "--run-dir", "/tmp/none"]) == status
    err = capsys.readouterr().err
    assert err.startswith("error: out of memory") and err.count("\n") == 1
    monkeypatch.setattr("ternary_lib.training.train", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a fault of the program")))
    with pytest.raises(RuntimeError, match="a fault of the program"):  # is no bad input
        main(["train", "--config", "configs/smoke.yaml", "--run-dir", "/tmp/none"])


def test_sigterm_says_how_it_goes_on(monkeypatch, capsys):
    monkeypatch.setattr("ternary_lib.training.train", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["train", "--config", "configs/smoke.yaml"]) == 143
    assert capsys.readouterr().err == "error: terminated; go on with: ternary train --config configs/smoke.yaml --resume\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_while_parts_are_imported_is_one_line(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "ternary_lib.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "ternary_lib.cli")
    monkeypatch.delattr("ternary_lib.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert __main__.run() == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_strangers_record_carries_no_control_sequence_to_the_terminal(tmp_path, capsys):
    given = micro_arguments("--run-dir", tmp_path / "run", "--resume", "--quiet")
    assert main(given) == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    hostile = {"warnings": ["\x1b[2J\x1b]0;mine\x07ok\nRecord: elsewhere"], "started": "\x1b[31mHA\n", "name": "x\x1b[1m\ny"}
    (tmp_path / "run" / "record.json").write_text(json.dumps(record | hostile))
    capsys.readouterr()
    main(given)
    out, err = capsys.readouterr()
    assert all(c.isprintable() for c in (out + err).replace("\n", ""))
    assert "elsewhere" in err and not any(line.startswith("Record: elsewhere") for line in (out + err).splitlines())


def test_an_errors_own_words_carry_none_either(capsys):
    print_error("\x1b[2J of a notebook\nand its \x07 second line")
    assert capsys.readouterr().err == "error: \\x1b[2J of a notebook and its \\x07 second line\n"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_benchmarks_record_replaces_no_link_and_no_device(tmp_path, capsys, kind):
    output = tmp_path / "out.json"
    output.symlink_to(output) if kind == "link" else os.mkfifo(output)
    assert main(["benchmark", "--config", "configs/smoke.yaml", "--trials", "1", "--output", str(output)]) == 2
    assert "is there and no plain file" in capsys.readouterr().err
    assert output.is_symlink() if kind == "link" else output.is_fifo()


def test_a_benchmark_that_could_not_be_written_is_not_begun(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert main(["benchmark", "--config", "configs/smoke.yaml", "--trials", "1", "--output", str(tmp_path / "out.json")]) == 2
    assert "no permission to write" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["train", "--config", "configs/smoke.yaml", "--run-dir", ""], ["train", "--config", " "],
                                   ["compare", "configs/smoke.yaml", "", "--seeds", "1", "2"]])  # fmt: skip
def test_an_empty_word_is_no_name(capsys, given):
    assert main(given) == 2
    assert "expected something, got an empty word" in capsys.readouterr().err


def test_a_schedulers_address_has_a_port(tmp_path):
    done = ternary("sweep", "configs/sweeps/guide.yaml", "--output", tmp_path / "out", "--scheduler", "somewhere")
    assert_one_clear_line(done, "--scheduler somewhere", "tcp://host:8786")
