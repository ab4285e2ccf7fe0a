"""Fine-tune to a family: python book/examples/transfer_learning.py"""

import torch

from ternary_lib import load_model
from ternary_lib.operations import all_operations, is_commutative
from ternary_lib.transfer import fine_tune, generated, hold_out, precision, rebuilt, recall

family = torch.where(is_commutative(all_operations()))[0]  # 729 of 19,683
shown, held_out = hold_out(family, 0.8, seed=0)
start = load_model("ternary_v5_5")
networks = {"before": start, "fine-tuned": fine_tune(start, shown, steps=300).model}

print("pathway  network     commutative  held out, found  of all, rebuilt")
for name in "ab":
    for label, model in networks.items():
        drawn = generated(model, name, 10_000, torch.Generator().manual_seed(1))
        row = precision(drawn, family), recall(drawn, held_out)
        kept = float(rebuilt(model, name).double().mean())
        print(f"{name.upper():8} {label:10} {row[0]:12.1%} {row[1]:16.1%} {kept:16.1%}")
