"""Coverage of a released model by decode mode and pathway, beside its two baselines: python book/examples/coverage_analysis.py"""

import torch

from ternary_lib import TernaryVAE, load_config, load_model, sample_coverage
from ternary_lib.coverage import MODES, efficiency, uniform_coverage

DRAWS = 50_000
trained = load_model("ternary_v5_5")
untrained = TernaryVAE(load_config("configs/ternary_v5_5.yaml").model, torch.Generator().manual_seed(0))

print(f"{DRAWS:,} draws from the prior; a uniform generator is expected to find {uniform_coverage(DRAWS):.2%}\n")
print("decode       network     pathway   found   efficiency")
for mode in MODES:
    for label, model in (("trained", trained), ("untrained", untrained)):
        for name, pathway in (("A", model.pathway_a), ("B", model.pathway_b)):
            found = sample_coverage(pathway.decoder, DRAWS, mode, torch.Generator().manual_seed(1))
            print(f"{mode:12} {label:11} {name:7} {found:8.2%} {efficiency(found, DRAWS):11.3f}")
