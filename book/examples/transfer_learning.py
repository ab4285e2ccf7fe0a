"""Fine-tune a released model to the commutative operations: python book/examples/transfer_learning.py"""

import torch

from ternary_lib import load_model
from ternary_lib.operations import all_operations, is_commutative
from ternary_lib.transfer import fine_tune, generated, precision, rebuilt, recall

DRAWS = 10_000
commutative = torch.where(is_commutative(all_operations()))[0]  # 729 of 19,683
shuffled = commutative[torch.randperm(len(commutative), generator=torch.Generator().manual_seed(0))]
shown, held_out = shuffled[:583], shuffled[583:]  # four fifths are shown

start = load_model("ternary_v5_5")
tuned = fine_tune(start, shown, steps=300).model

print("pathway  network     commutative  of those held out, found  all operations rebuilt")
for name in "ab":
    for label, model in (("before", start), ("fine-tuned", tuned)):
        found = generated(model, name, DRAWS, torch.Generator().manual_seed(1))
        share, new, kept = precision(found, commutative), recall(found, held_out), rebuilt(model, name).double().mean()
        print(f"{name.upper():8} {label:11} {share:11.1%} {new:25.1%} {kept:23.1%}")
