"""A picture of the codes: python book/examples/latent_space_viz.py [picture.png]"""

import sys

import matplotlib.pyplot as plt
import torch

from ternary_lib import load_model
from ternary_lib.operations import all_operations, is_commutative

x = all_operations()  # [19683, 9] in {-1, 0, 1}
with torch.inference_mode():
    mu, _ = load_model("ternary_v5_5").pathway_a.encoder(x)  # [19683, 16]
spread, order = mu.var(0).sort(descending=True)
print("variance of μ by dimension:", *(f"{value:.2f}" for value in spread))

i, j = order[:2].tolist()  # the two dimensions that vary most
figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
for label, chosen, size, colour in (
    ("other", ~is_commutative(x), 1, "0.6"),
    ("commutative", is_commutative(x), 9, "C0"),
):
    dots = mu[chosen][:, [i, j]].T
    axes.scatter(*dots, s=size, c=colour, linewidths=0, rasterized=True, label=label)
axes.set(xlabel=f"μ, dimension {i}", ylabel=f"μ, dimension {j}")
axes.legend(loc="upper left", markerscale=2)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "latent_space.png", dpi=150)
