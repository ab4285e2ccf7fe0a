"""Released weights: the record's own, loaded by name in one line, and nothing foreign, damaged or oversized let in."""

import json
import struct

import pytest
import torch
from micro import micro_config, ternary
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ternary_lib import checkpoint, model_cards, weights
from ternary_lib.cli import main
from ternary_lib.config import InputError
from ternary_lib.journal import weights_hash
from ternary_lib.model import TernaryVAE
from ternary_lib.records import load_record, same_config
from ternary_lib.training import train
from ternary_lib.weights import RELEASED, load_model

PATH = RELEASED["ternary_v5_5"].path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a second."""
    return train(micro_config(), tmp_path_factory.mktemp("weights") / "run", progress=False)


@pytest.fixture
def released(run, tmp_path):
    """Its last epoch's weights, released."""
    weights.release(run.run_dir / "last.safetensors", tmp_path / "micro.safetensors")
    return tmp_path / "micro.safetensors"


def refusal(path):
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 300
    return str(caught.value)


def rewritten(path, change):
    """The file with its header changed: ``change`` gets header and description as Python objects."""
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    meta = json.loads(header["__metadata__"]["meta"])
    change(header, meta)
    header["__metadata__"]["meta"] = json.dumps(meta)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[end:])


# What is released


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_is_what_its_record_says(name):
    item, loaded, record = RELEASED[name], weights.load(name), load_record(RELEASED[name].record)
    last = record["history"]["epoch"][-1]
    epoch = {"last": last, "best": record["best_epoch"]}[item.checkpoint]
    assert loaded.controls.epoch == epoch
    assert same_config(record, loaded.config)
    assert (weights_hash(loaded.model) == record["weights_sha256"]) == (epoch == last)
    row = {key: record["history"][key][record["history"]["epoch"].index(epoch)] for key in ("rho", "tau_a", "beta_b", "lambda_3")}
    assert {key: getattr(loaded.controls, key) for key in row} == row


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_holds_weights_and_nothing_else(name):
    tensors = load_file(RELEASED[name].path)
    assert sum(t.numel() for t in tensors.values()) == 168_770
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert RELEASED[name].path.stat().st_size < 168_770 * 4 + 10_000
    with safe_open(RELEASED[name].path, framework="pt") as file:
        meta = json.loads(file.metadata()["meta"])
    assert meta.keys() == {"name", "seed", "epoch", "weights_sha256", "licence", "controls", "config"}
    assert (meta["licence"], meta["seed"], meta["epoch"]) == ("MIT", 42, meta["controls"]["epoch"])


@pytest.mark.parametrize("name", RELEASED)
def test_it_reconstructs_what_its_record_says(name):
    from ternary_lib.operations import all_operations

    record, epoch = load_record(RELEASED[name].record), weights.load(name).controls.epoch
    x = all_operations()
    for p in "ab":
        pathway = getattr(load_model(name), f"pathway_{p}")
        with torch.inference_mode():
            exact = (pathway.decoder(pathway.encoder(x)[0]).argmax(-1) - 1 == x).all(-1).double().mean().item()
        recorded = record["history"][f"{p}.exact_all"][record["history"]["epoch"].index(epoch)]
        assert exact == pytest.approx(recorded, abs=3 / len(x))  # another processor may round a tie the other way


@pytest.mark.parametrize("name", RELEASED)
def test_the_committed_card_is_the_one_that_is_generated(name):
    text = RELEASED[name].path.with_suffix(".md").read_text(encoding="utf-8")
    assert text == model_cards.card(name)
    assert f'load_model("{name}")' in text and weights_hash(load_model(name)) in text and "MIT" in text


def test_a_card_is_written_from_the_record(monkeypatch):
    record = load_record("ternary_v5_5_seed42")
    record["history"]["a.exact_all"][-1] = 0.1234
    monkeypatch.setattr(model_cards, "load_record", lambda name: record)
    assert "12.34" in model_cards.card("ternary_v5_5") and "12.34" not in PATH.with_suffix(".md").read_text(encoding="utf-8")


# Loading


def test_names_files_and_checkpoints_load_alike(run, released):
    expected = weights_hash(run.model)
    assert weights_hash(load_model(released)) == weights_hash(load_model(str(run.run_dir / "last.safetensors"))) == expected
    assert weights_hash(load_model("ternary_v5_5")) == weights_hash(load_model(PATH))
    assert not load_model(released).training
    first, second = weights.load(released), weights.load(run.run_dir / "last.safetensors")
    assert (first.config, first.controls) == (second.config, second.controls)


def test_releasing_twice_gives_the_same_bytes(run, released, tmp_path):
    weights.release(run.run_dir / "last.safetensors", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == released.read_bytes()
    weights.release(released, tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == released.read_bytes()


def test_an_unknown_name_is_refused_with_the_known_ones():
    message = refusal("ternary_v5_6")
    assert "ternary_v5_6: no such checkpoint" in message and all(name in message for name in RELEASED)


def test_no_run_goes_on_from_released_weights(released):
    with pytest.raises(checkpoint.CheckpointError, match="released weights, from which no run can go on"):
        checkpoint.load(released)


def test_only_the_committed_record_s_run_is_released(run):
    with pytest.raises(InputError, match="a run of micro_seed42, which is not released"):
        weights.release_run(run.run_dir)


def test_the_released_run_gives_its_weights_and_its_card(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TERNARY_RESULTS", str(tmp_path))
    item = weights.Release("micro", "micro_seed42", "last")
    monkeypatch.setattr(weights, "RELEASED", {"micro": item})
    monkeypatch.setattr(weights, "load_record", lambda name: {"weights_sha256": weights_hash(run.model)})
    assert weights.release_run(run.run_dir) == ["micro"]
    assert weights_hash(load_model(item.path)) == weights_hash(run.model)
    monkeypatch.setattr(model_cards, "RELEASED", {"micro": item})
    monkeypatch.setattr(model_cards, "card", lambda name: f"# {name}\n")
    assert model_cards.main([str(run.run_dir)]) == model_cards.main([]) == 0
    assert item.path.with_suffix(".md").read_text(encoding="utf-8") == "# micro\n"


def test_no_card_is_written_of_another_run(run, capsys):
    assert model_cards.main([str(run.run_dir)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_another_run_of_the_released_name_is_not_the_released_one(tmp_path):
    other = train(micro_config(name="ternary_v5_5"), tmp_path / "run", progress=False)
    with pytest.raises(InputError, match=r"not those of results/runs/ternary_v5_5_seed42\.json"):
        weights.release_run(other.run_dir)


def test_the_command_line_measures_released_weights(run, released):
    done = ternary("evaluate", "--checkpoint", released, "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert {key: measured[key] for key in ("a.exact_all", "b.rate", "validation.total", "rho")} == {
        key: run.history[key][-1] for key in ("a.exact_all", "b.rate", "validation.total", "rho")
    }


def test_the_command_line_prints_them_as_a_table(run, released, capsys):
    assert main(["evaluate", "--checkpoint", str(released)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("epoch 3, phase ") and f"validation loss {run.history['validation.total'][-1]:.4f}" in head
    (exact,) = (line for line in lines if "test set alone" in line)
    assert float(exact.split()[-1]) == pytest.approx(100 * run.history["b.exact_test"][-1], abs=0.01)
    budget = run.config.evaluation.budgets[-1]
    found = [line.split() for line in lines if line.startswith("argmax") and f" {budget:,} " in line]
    assert float(found[0][3]) == pytest.approx(100 * run.history[f"a.coverage.argmax.{budget}"][-1] / 19_683, abs=1e-3)


# Refusals


def no_allocation(monkeypatch):
    """Reading any tensor is now an error: what is refused is refused by its header."""
    monkeypatch.setattr(checkpoint, "read_tensors", lambda *_: pytest.fail("tensors were read"))
    monkeypatch.setattr(weights, "load_weights", lambda *_: pytest.fail("a model was filled"))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("latent_dim", 8, "expected F32 [32, 8], found F32 [32, 16]"),
        ("encoder_widths", [16384] * 16, "expected"),  # gigabytes, were it built
        ("decoder_b_blocks", 3, "found no such tensor"),
        ("decoder_b_blocks", 1, "expected no such tensor"),
        ("decoder_b_width", "wide", "model.decoder_b_width"),
    ],
)
def test_a_configuration_that_its_tensors_do_not_fit_is_refused_before_they_are_read(released, monkeypatch, key, value, words):
    rewritten(released, lambda _, meta: meta["config"]["model"].update({key: value}))
    no_allocation(monkeypatch)
    assert words in refusal(released)


def test_the_same_of_a_run_s_checkpoint(run, tmp_path, monkeypatch):
    tensors, meta = checkpoint.load(run.run_dir / "last.safetensors")
    meta["config"]["model"]["latent_dim"] = 8
    checkpoint.save(tmp_path / "last.safetensors", tensors, meta)
    no_allocation(monkeypatch)
    assert "model/pathway_a.decoder.body.0.weight: expected F32 [32, 8], found F32 [32, 16]" in refusal(tmp_path / "last.safetensors")


def test_other_types_than_float32_are_refused(released, tmp_path):
    with safe_open(released, framework="pt") as file:
        metadata = file.metadata()
    for dtype, words in ((torch.float64, "found F64"), (torch.float16, "is of type F16")):
        save_file({name: t.to(dtype) for name, t in load_file(released).items()}, tmp_path / "x.safetensors", metadata)
        assert words in refusal(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda meta: meta.pop("config"), "expected one in its description"),
        (lambda meta: meta.pop("controls"), "its controls are not those of an epoch"),
        (lambda meta: meta["controls"].pop("rho"), "its controls are not those of an epoch"),
        (lambda meta: meta["controls"].update(rho="0.7"), "controls.rho: expected a finite float"),
        (lambda meta: meta["controls"].update(tau_a=float("nan")), "controls.tau_a: expected a finite float"),
        (lambda meta: meta["controls"].update(epoch=1.5), "controls.epoch: expected a finite int"),
        (lambda meta: meta.pop("weights_sha256"), "damaged"),
    ],
    ids=range(7),
)
def test_a_faulty_description_is_refused(released, change, words):
    rewritten(released, lambda _, meta: change(meta))
    assert words in refusal(released)


def test_one_flipped_bit_is_noticed(released):
    data = bytearray(released.read_bytes())
    data[-1000] ^= 1
    released.write_bytes(data)
    assert "damaged" in refusal(released)


def test_the_header_is_in_one_order(run, tmp_path):
    """safetensors writes its metadata in the order of a hash table; `save` puts it in order."""
    model = TernaryVAE(micro_config().model)
    checkpoint.save(tmp_path / "x.safetensors", model.state_dict(), {})
    text = (tmp_path / "x.safetensors").read_bytes()
    size = struct.unpack("<Q", text[:8])[0]
    assert list(json.loads(text[8 : 8 + size])["__metadata__"]) == ["format", "meta"] and size % 8 == 0


def test_too_many_tensors_are_refused(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "x.safetensors", {str(i): torch.zeros(1) for i in range(30)}, {})
    monkeypatch.setattr(checkpoint, "MAX_TENSORS", 29)
    assert "it has 30 tensors" in refusal(tmp_path / "x.safetensors")
