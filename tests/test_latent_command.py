"""`ternary latent`: its report, and refusals in one line."""

import json
import math

import pytest
import torch
from micro import micro_config

from ternary_lib import checkpoint, latent_command, weights
from ternary_lib.cli import build_parser, main
from ternary_lib.training import train


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(micro_config(), folder, resume=True, progress=False)
    return folder / "last.safetensors"


def test_command_reports_and_repeats(last, capsys, monkeypatch):
    monkeypatch.setattr(latent_command, "PERMUTATIONS", 19)
    arguments = ["latent", "--checkpoint", str(last), "--draws", "200", "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert (
        first["epoch"] == 3
        and list(first["pathways"]) == ["a", "b"]
        and list(first["together"]) == [f"noise_{s:g}" for s in latent_command.NOISES]
    )
    tensors, _ = checkpoint.load(last)
    for name, part in first["pathways"].items():
        assert part["exact"] == pytest.approx(float(tensors[f"history/{name}.exact_all"][-1]), abs=1e-9)
        assert part["noise"]["0"] == part["exact"] and part["families"]["associative"]["members"] == 113
    assert first["together"]["noise_0"]["first"] == first["pathways"]["a"]["exact"]


def test_command_prints_one_page_of_one_pathway_mixed(last, capsys, monkeypatch):
    monkeypatch.setattr(latent_command, "PERMUTATIONS", 19)
    assert main(["latent", "--checkpoint", str(last), "--draws", "200", "--pathway", "b", "--mixed"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("epoch 3, mixed codes") and "best of two" not in page and "Latin square" in page
    assert max(map(len, page.splitlines())) <= 140


def test_a_released_name_is_taken_as_a_checkpoint_is(last, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latent_command, "PERMUTATIONS", 19)
    monkeypatch.setenv("TERNARY_RESULTS", str(tmp_path))
    (tmp_path / "weights").mkdir()
    weights.release(last, weights.RELEASED["ternary_v5_5"].path)
    pages = []
    for source in (str(last), "ternary_v5_5"):
        assert main(["latent", "--checkpoint", source, "--draws", "100", "--pathway", "a", "--json"]) == 0
        pages.append(json.loads(capsys.readouterr().out))
        assert pages[-1].pop("checkpoint") == source
    assert pages[0] == pages[1]


def test_the_help_names_what_evaluate_takes():
    parser = build_parser()
    helped = {}
    for name in ("evaluate", "latent"):
        command = parser._subparsers._group_actions[0].choices[name]
        (helped[name],) = (action.help for action in command._actions if action.dest == "checkpoint")
    assert helped["latent"] == helped["evaluate"] and "ternary_v5_5" in helped["latent"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "nowhere.safetensors"], "no such checkpoint, and no released weights of that name (known: ternary_v5_5,"),
        (["--checkpoint", "README.md"], "not a readable checkpoint"),
        (["--checkpoint", "README.md", "--draws", "0"], "--draws 0: expected a whole number from 100"),
        (["--checkpoint", "README.md", "--seed", "-1"], "--seed -1: expected a whole number from 0"),
    ],
)
def test_command_refuses_in_one_line(arguments, words, capsys):
    assert main(["latent", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and words in err


@pytest.mark.parametrize(("arguments", "words"), [([], "--checkpoint"), (["--checkpoint", "x", "--pathway", "c"], "invalid choice: 'c'")])
def test_command_names_a_wrong_argument(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["latent", *arguments])
    assert stopped.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["nan", "shape", "history"])
def test_command_refuses_damaged_weights(last, tmp_path, capsys, fault):
    tensors, meta = checkpoint.load(last)
    name = "model/pathway_a.encoder.mu.bias"
    if fault == "nan":
        tensors[name] = torch.full_like(tensors[name], math.nan)
    elif fault == "shape":
        tensors[name] = tensors[name][:3]
    else:
        del tensors["history/tau_a"]
    checkpoint.save(tmp_path / "damaged.safetensors", tensors, meta)
    assert main(["latent", "--checkpoint", str(tmp_path / "damaged.safetensors")]) == 2
    out, err = capsys.readouterr()
    words = {"nan": "not finite", "shape": "pathway_a.encoder.mu.bias: expected F32", "history": "tau_a"}[fault]
    assert out == "" and err.count("\n") == 1 and words in err
