"""The larger space: its windows, its memory, what is measured of a decoder, and a record made once."""

import json
import math
from functools import partial

import pytest
import torch

from benchmarks import larger
from ternary_lib import records
from ternary_lib.coverage import tertile_decoder
from ternary_lib.operations import to_index
from ternary_lib.randomness import stream

pytestmark = pytest.mark.usefixtures("one_thread")


def one_table(z, index=0):
    """A decoder that is sure of one table whatever z is."""
    return torch.nn.functional.one_hot(torch.full((len(z), larger.POSITIONS), index), 3).float() * 50


def test_windows_are_nine_different_entries_each_and_together_cover_all_sixteen():
    sets = larger.windows()
    assert sets.shape == (larger.WINDOWS, 9)
    assert all(len(set(window.tolist())) == 9 for window in sets)
    assert set(sets.flatten().tolist()) == set(range(16))
    assert torch.equal(sets, larger.windows())


def test_the_memory_of_each_window_takes_up_its_own_entries():
    sets, generator = larger.windows(), stream(0, "test")
    drawn = [torch.randn(5, 16, 3, generator=generator) for _ in range(2)]
    memories = torch.zeros(2, larger.WINDOWS, 3**9)
    larger.remember(memories, larger.in_windows(drawn, sets), 0.75)
    assert torch.allclose(memories.sum(-1), torch.full((2, larger.WINDOWS), 0.25))
    table = drawn[1].argmax(-1) - 1
    expected = torch.bincount(to_index(table[:, sets[3]]), minlength=3**9) * 0.25 / 5
    assert torch.allclose(memories[1, 3], expected)


def test_the_ideal_decoder_is_uniform_within_the_noise_and_a_constant_one_is_as_far_off_as_can_be():
    draws = 400_000
    found = larger.uniformity(partial(tertile_decoder, positions=16), stream(0, "ideal"), draws)
    assert found["noise"] == pytest.approx(math.sqrt(2 * larger.TABLES) / draws, rel=1e-5)
    assert abs(found["chi_squared"]) < 4 * found["noise"]
    assert found["distinct"] == pytest.approx(1, abs=1e-3)
    assert found["confidence"] > 0.99
    found = larger.uniformity(one_table, stream(0, "one"), 20_000)
    assert found["chi_squared"] == pytest.approx(larger.TABLES - 1)
    assert (found["most_frequent"], found["distinct"]) == (1, pytest.approx(1 / 20_000, rel=1e-3))


def test_only_the_matching_is_left_out_of_the_other_recipe():
    with_, without = (larger.recipe(name, 0) for name in larger.RECIPES)
    assert with_.prior_matching and without.prior_matching is None
    assert with_.model_copy(update={"prior_matching": None}) == without


def test_a_run_is_made_once_and_measured_on_tables_it_never_saw(tmp_path, monkeypatch, capsys):
    real = larger.recipe

    def short(name, seed):
        config = real(name, seed)
        schedules = config.schedules.model_copy(update={"total_epochs": 2, "phases": (1, 2, 2)})
        matching = config.prior_matching and config.prior_matching.model_copy(update={"draws": 32})
        data = config.data.model_copy(update={"train": 512})
        return config.model_copy(update={"schedules": schedules, "prior_matching": matching, "data": data})

    monkeypatch.setattr(larger, "recipe", short)
    monkeypatch.setattr(larger.uniformity, "__defaults__", (20_000,))
    path = tmp_path / "larger.json"
    assert larger.main(["--seeds", "3", "--output", str(path)]) == 0
    found = records.read_json(path)
    assert set(found) == {"ideal", "matched-seed3", "unmatched-seed3"}
    assert all(0 <= found["matched-seed3"][p]["exact_unseen"] <= 1 for p in "ab")
    before = path.read_bytes()
    assert larger.main(["--seeds", "3", "--output", str(path)]) == 0
    assert path.read_bytes() == before
    assert "0 of them now" in capsys.readouterr().err


def test_a_damaged_record_is_refused_in_one_line(tmp_path, capsys):
    path = tmp_path / "larger.json"
    path.write_text(json.dumps([1]))
    assert larger.main(["--output", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_decoder_that_never_leaves_half_of_the_entries_is_as_far_off_as_the_tables_it_leaves_out():
    def half(z):
        logits = tertile_decoder(z, positions=16).clone()
        logits[:, 8:] = torch.tensor([50.0, 0.0, 0.0])
        return logits

    draws = 200_000
    found = larger.uniformity(half, stream(0, "half"), draws)
    assert found["chi_squared"] == pytest.approx(3**8 - 1, rel=4 * math.sqrt(2 * 3**8) / draws)  # 3^8 tables, evenly


def test_the_term_reads_the_window_of_its_step_and_reaches_the_loss(monkeypatch):
    config = larger.recipe("matched", 0)
    schedules = config.schedules.model_copy(update={"total_epochs": 2, "phases": (1, 2, 2)})
    matching = config.prior_matching.model_copy(update={"draws": 8, "from_phase": 2})
    config = config.model_copy(update={"schedules": schedules, "prior_matching": matching})
    tables = torch.randint(-1, 2, (600, 16), generator=stream(0, "tables"))
    seen, given, drawn = [], [], []
    real_loss, real_term, real_windows = larger.total_loss, larger.prior_mismatch, larger.in_windows

    def loss(*arguments, mismatches=None, **more):
        given.append(mismatches)
        return real_loss(*arguments, mismatches=mismatches, **more)

    def term(logits, memory, of):
        seen.append((logits.detach(), memory.clone()))
        return real_term(logits, memory, of)

    def in_windows(both, sets):
        drawn.append([logits.detach() for logits in both])
        return real_windows(both, sets)

    for name, spy in (("total_loss", loss), ("prior_mismatch", term), ("in_windows", in_windows)):
        monkeypatch.setattr(larger, name, spy)
    with_ = larger.train(config, tables, stream(0, "run"))
    steps = math.ceil(600 / config.training.batch_size)
    assert [m is not None for m in given] == [False] * steps + [True] * steps  # from phase 2 on, which is the second epoch
    sets, read = larger.windows(), iter(seen)
    for step, both in enumerate(drawn, steps):
        for logits in both:
            assert torch.equal(next(read)[0], logits[:, sets[step % larger.WINDOWS]])
    assert next(read, None) is None
    assert all(float(memory.sum()) == pytest.approx(1, rel=1e-4) for _, memory in seen)
    assert not torch.equal(seen[0][1], seen[-1][1]), "what was drawn is remembered"
    monkeypatch.setattr(larger, "prior_mismatch", lambda logits, memory, of: real_term(logits, memory, of) * 0)
    without = larger.train(config, tables, stream(0, "run"))
    assert any(not torch.equal(a, b) for a, b in zip(with_.parameters(), without.parameters(), strict=True))
