"""Fine-tune to a family: python book/examples/transfer_learning.py"""

import torch

from ternary_lib import load_model, transfer
from ternary_lib.operations import all_operations, is_commutative

family = torch.where(is_commutative(all_operations()))[0]  # 729 of 19,683
shown, held_out = transfer.hold_out(family, 0.8, seed=0)
start = load_model("ternary_v5_5")
tuned = transfer.fine_tune(start, shown, steps=300).model
networks = {"before": start, "fine-tuned": tuned}

print("pathway  network     commutative  held out, found  of all, rebuilt")
for name in "ab":
    for label, model in networks.items():
        drawn = transfer.generated(model, name, 10_000, torch.Generator().manual_seed(1))
        share = transfer.precision(drawn, family)
        found = transfer.recall(drawn, held_out)
        kept = float(transfer.rebuilt(model, name).double().mean())
        print(f"{name.upper():8} {label:10} {share:12.1%} {found:16.1%} {kept:16.1%}")
