"""Fine-tuning on tiny sets, and its measures against counts made by hand."""

import math

import pytest
import torch

from ternary_lib import transfer
from ternary_lib.config import Config, InputError
from ternary_lib.coverage import draw_indices, tertile_decoder
from ternary_lib.data import split_indices
from ternary_lib.evaluation import reconstruction
from ternary_lib.losses import total_loss
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, all_operations, is_commutative
from ternary_lib.randomness import stream
from ternary_lib.transfer import fine_tune, generated, hold_out, precision, recall

COMMUTATIVE = torch.where(is_commutative(all_operations()))[0]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    return TernaryVAE(Config().model, torch.Generator().manual_seed(0))


def same(first, second, part=""):
    """Whether every weight whose name holds ``part`` is the same to the last bit."""
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(torch.equal(u, v) for (name, u), (_, v) in pairs if part in name)


def test_one_operation_is_learnt_and_little_else_is_drawn(model):
    one = torch.tensor([113])
    tuned = fine_tune(model, one, 80, keep=[0], batch=16)
    for p in "ab":
        before, after = (precision(generated(net, p, 2000, stream(0, "draws", p)), one) for net in (tuned.kept[0], tuned.model))
        assert before < 0.05 and 0.95 < after <= 1, (p, before, after)
    assert tuned.history["ce_a"][0] > 9 and tuned.history["ce_a"][-1] < 1


def test_commutative_draws_become_more_but_not_all(model):
    shown, held = hold_out(COMMUTATIVE, 0.5, seed=0)
    tuned = fine_tune(model, shown, 60, rate=1e-3)
    found = generated(tuned.model, "b", 4000, stream(0, "draws"))
    assert 0.3 < precision(found, COMMUTATIVE) < 0.999, "sixty steps are neither nothing nor enough"
    before = generated(model, "b", 4000, stream(0, "draws"))
    assert precision(before, COMMUTATIVE) < 0.1 and recall(found, held) > 2 * recall(before, held), "held-out ones come along"


def test_same_arguments_same_bits(model):
    runs = [fine_tune(model, COMMUTATIVE, 5, seed=seed) for seed in (1, 1, 2)]
    assert same(runs[0].model, runs[1].model) and runs[0].history == runs[1].history
    assert not same(runs[0].model, runs[2].model, "pathway_a.decoder") and not same(runs[0].model, runs[2].model, "pathway_b.encoder")


def test_the_given_model_is_not_changed(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fine_tune(model, COMMUTATIVE, 3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_kept_networks_are_those_of_shorter_runs(model):
    long = fine_tune(model, COMMUTATIVE, 6, keep=[0, 4])
    assert sorted(long.kept) == [0, 4, 6] and same(long.kept[0], model)
    short = fine_tune(model, COMMUTATIVE, 4)
    assert same(long.kept[4], short.model) and long.history["kl_b"][:4] == short.history["kl_b"]
    assert not same(long.kept[4], long.model, "pathway_a.encoder")
    nothing = fine_tune(model, COMMUTATIVE, 0)
    assert same(nothing.model, model) and nothing.history["ce_a"] == []


@pytest.mark.parametrize(("part", "frozen"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_a_frozen_part_keeps_every_bit(model, part, frozen):
    tuned = fine_tune(model, COMMUTATIVE, 3, part=part).model
    assert same(tuned, model, f".{frozen}.") and same(tuned, model, "statenet")
    for p in "ab":
        assert not same(tuned, model, f"pathway_{p}.{part}.")
        draws = [generated(net, p, 500, stream(0, "draws")) for net in (tuned, model)]
        assert torch.equal(*draws) == (part == "encoder"), "a draw never passes the encoder"


def test_the_first_step_pays_the_loss_of_training(model):
    history = fine_tune(model, COMMUTATIVE, 1, beta=0.7, batch=32, seed=3).history
    order, noise = stream(3, "transfer", "batches"), stream(3, "transfer", "noise")
    x = all_operations()[COMMUTATIVE[torch.randint(len(COMMUTATIVE), (32,), generator=order)]]
    with torch.no_grad():
        wanted = total_loss(model(x, 1.0, 1.0, 0.0, noise), x + 1, (0.7, 0.7), torch.ones(3))
    for name, (value,) in history.items():
        assert value == pytest.approx(float(getattr(wanted, name)), rel=1e-6), name
    extra = history["loss_b"][0] - history["ce_b"][0] - 0.7 * history["kl_b"][0]
    assert -0.05 * 9 * math.log(3) <= extra < 0, "output entropy is rewarded"


def test_replay_takes_its_share_of_every_batch(model, monkeypatch):
    shown = []

    def watch(output, classes, *rest, **more):
        shown.append(classes)
        return total_loss(output, classes, *rest, **more)

    monkeypatch.setattr(transfer, "total_loss", watch)
    fine_tune(model, torch.tensor([113]), 20, batch=40, replay=0.25)
    strangers = [int((classes - 1 != all_operations()[113]).any(1).sum()) for classes in shown]
    assert max(strangers) <= 10 and sum(strangers) > 190, "ten of forty, but for the odd chance of drawing 113 itself"
    shown.clear()
    fine_tune(model, torch.tensor([113]), 3, batch=40)
    assert all(bool((classes - 1 == all_operations()[113]).all()) for classes in shown)


def test_hold_out_divides_the_set():
    used, held = hold_out(COMMUTATIVE, 0.2, seed=5)
    assert len(used) == 146 and sorted([*used.tolist(), *held.tolist()]) == COMMUTATIVE.tolist()
    assert torch.equal(used, hold_out(COMMUTATIVE, 0.2, seed=5)[0]) and not torch.equal(used, hold_out(COMMUTATIVE, 0.2, seed=6)[0])
    assert [len(part) for part in hold_out(COMMUTATIVE, 1e-6, seed=5)] == [1, 728]
    assert [len(part) for part in hold_out(COMMUTATIVE, 1.0, seed=5)] == [729, 0]


def test_measures_of_made_up_draws():
    found, members = torch.tensor([3, 3, 3, 8, 0, 19_682]), torch.tensor([3, 19_682, 7, 5])
    assert precision(found, members) == pytest.approx(4 / 6) and recall(found, members) == pytest.approx(2 / 4)
    assert recall(found[:3], members) == pytest.approx(1 / 4), "repetitions find nothing new"
    assert precision(found, torch.arange(NUM_OPERATIONS)) == 1 and math.isnan(recall(found, members[:0]))
    shares = transfer.fair_shares(found)
    assert float(shares.mean()) == pytest.approx(1) and float(shares[3]) == pytest.approx(NUM_OPERATIONS / 2)


def test_recall_of_an_even_generator():
    assert transfer.even_recall(2, 1) == pytest.approx(1 / 2) and transfer.even_recall(2, 3) == pytest.approx(7 / 8)
    found = draw_indices(tertile_decoder, 729 * 3, ("argmax",), stream(0, "even"))["argmax"]
    expected, sd = transfer.even_recall(NUM_OPERATIONS, 729 * 3), math.sqrt(0.1 * 0.9 / 729)
    assert abs(recall(found, COMMUTATIVE) - expected) < 4 * sd
    assert abs(precision(found, COMMUTATIVE) - 1 / 27) < 4 * math.sqrt(1 / 27 / 2187)


def test_neighbours_count_entries():
    x, examples = all_operations(), torch.tensor([113, 0, 114])
    near = transfer.neighbours(examples)
    for i in (0, 113, 114, 9841, 19_682):
        by_hand = [int((x[i] != x[j]).sum()) for j in examples]
        assert near[i].tolist() == [by_hand.count(d) for d in range(10)], i
    assert near.sum(1).unique().tolist() == [3]
    assert transfer.neighbours(torch.tensor([7])).sum(0).tolist() == [math.comb(9, d) * 2**d for d in range(10)]


def test_favour_compares_like_with_like():
    members, shown = torch.tensor([10, 11, 12, 13]), torch.tensor([10])
    key = torch.full((NUM_OPERATIONS,), 9)
    key[[10, 11, 12, 20, 21]] = torch.tensor([1, 1, 2, 1, 2])  # 11 has 20, and 12 has 21; 13 shares the rest's
    key[13] = 5  # ... and now no stranger's
    found = torch.tensor([10] * 50 + [11] * 6 + [12] * 2 + [13] * 9 + [20] * 3 + [21] * 5)
    unit = NUM_OPERATIONS / len(found)
    result = transfer.favour(found, members, shown, key)
    assert result.matched == 2
    assert result.member == pytest.approx(unit * (6 + 2) / 2) and result.stranger == pytest.approx(unit * (3 + 5) / 2)
    key[21] = 1  # 12 has no match left; 11 has two, drawn 3 and 5 times
    result = transfer.favour(found, members, shown, torch.stack([key, key], 1))
    assert result.matched == 1 and result.member == pytest.approx(unit * 6) and result.stranger == pytest.approx(unit * 4)
    assert transfer.favour(found, members, members, key).matched == 0 and math.isnan(transfer.favour(found, members, members, key).member)


def test_rebuilt_and_lines_agree_with_the_records_measures(model):
    tuned = fine_tune(model, torch.arange(NUM_OPERATIONS), 60).model
    row = reconstruction(tuned, split_indices(Config().data), 0.0, stream(0, "posterior"))
    for p in "ab":
        assert float(transfer.rebuilt(tuned, p).double().mean()) == pytest.approx(row[f"{p}.exact_all"], abs=1e-9)
        assert transfer.lines_used(tuned, p, torch.arange(NUM_OPERATIONS)) == row[f"{p}.active_units"]
        assert transfer.lines_used(tuned, p, torch.tensor([5, 5, 5])) == 0, "one operation needs no line"


def test_a_prefix_of_the_draws_is_a_smaller_budget(model):
    assert torch.equal(generated(model, "a", 50, stream(0, "x")), generated(model, "a", 1500, stream(0, "x"))[:50])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"indices": torch.tensor([], dtype=torch.long)}, "indices: expected a list of at least one"),
        ({"indices": torch.tensor([19_683])}, "indices: .*got 19683"),
        ({"indices": is_commutative(all_operations())}, "indices: .*bool"),
        ({"indices": torch.tensor(5)}, "indices: expected a list"),
        ({"steps": -1}, "steps -1"),
        ({"beta": -0.1}, "beta -0.1"),
        ({"rate": 0.0}, "rate 0.0: expected above 0"),
        ({"batch": 0}, "batch 0"),
        ({"replay": 1.5}, "replay 1.5: expected a share from 0 to 1"),
        ({"part": "head"}, "part 'head': expected one of all, encoder, decoder"),
        ({"keep": [4]}, r"keep \[4\]: expected steps from 0 to 3"),
    ],
)
def test_faults_are_named_in_one_line(model, arguments, words):
    given = {"indices": COMMUTATIVE, "steps": 3} | arguments
    with pytest.raises(InputError, match=words) as caught:
        fine_tune(model, **given)
    assert "\n" not in str(caught.value)


def test_other_faults(model):
    with pytest.raises(InputError, match="share 0"):
        hold_out(COMMUTATIVE, 0, seed=0)
    with pytest.raises(InputError, match="pathway 'c'"):
        generated(model, "c", 10, stream(0))


def test_mirrored_lines_make_commutative_operations_alone():
    found = draw_indices(transfer.mirrored, 20_000, ("argmax",), stream(0, "test"), 16)["argmax"]
    assert precision(found, COMMUTATIVE) == 1
    blocks = transfer.recalls(found, COMMUTATIVE, 3 * 729)
    chance = transfer.even_recall(729, 3 * 729)
    assert len(blocks) == 9 and abs(sum(blocks) / 9 - chance) < 4 * math.sqrt(chance * (1 - chance) / 729 / 9)


def test_draws_until_by_hand():
    found, members = torch.tensor([3, 9, 3, 5, 7]), torch.tensor([3, 5, 7, 8])
    assert [transfer.draws_until(found, members, part) for part in (0.25, 0.5, 0.75)] == [1, 4, 5]
    assert transfer.draws_until(found, members, 1.0) == math.inf


def test_favours_are_pooled_by_members():
    pooled = transfer.pooled([transfer.Favour(2.0, 1.0, 1), transfer.Favour(4.0, 3.0, 3), transfer.Favour(math.nan, math.nan, 0)])
    assert pooled == (3.5, 2.5, 4) and pooled.ratio == 1.4
    assert math.isnan(transfer.pooled([transfer.Favour(math.nan, math.nan, 0)]).ratio) and math.isnan(transfer.Favour(1.0, 0.0, 1).ratio)


def test_likenesses_count_examples_by_distance():
    found = transfer.likenesses(torch.tensor([0, 1]))  # tables that differ in their last entry
    assert [int(found["distance"][i]) for i in (0, 1, 2, 4)] == [0, 0, 1, 1]
    assert found["crowding"][4].tolist() == [1, 1] and found["crowding"][0].tolist() == [1, 0]
