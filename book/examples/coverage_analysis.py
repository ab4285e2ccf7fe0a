"""Coverage beside its baselines: python book/examples/coverage_analysis.py"""

import torch

from ternary_lib import TernaryVAE, load_config, load_model, sample_coverage
from ternary_lib.coverage import MODES, efficiency, uniform_coverage

DRAWS = 50_000
config = load_config("configs/ternary_v5_5.yaml")
networks = {
    "trained": load_model("ternary_v5_5"),
    "untrained": TernaryVAE(config.model, torch.Generator().manual_seed(0)),
}

print(f"{DRAWS:,} draws; a uniform generator finds {uniform_coverage(DRAWS):.2%}\n")
print("decode       network    pathway    found  efficiency")
for mode in MODES:
    for label, model in networks.items():
        for name, pathway in (("A", model.pathway_a), ("B", model.pathway_b)):
            generator = torch.Generator().manual_seed(1)
            found = sample_coverage(pathway.decoder, DRAWS, mode, generator)
            share = efficiency(found, DRAWS)
            print(f"{mode:12} {label:10} {name:7} {found:8.2%} {share:11.3f}")
