"""Where the operations lie in the latent space of pathway A: python book/examples/latent_space_viz.py [picture.png]"""

import sys

import matplotlib.pyplot as plt
import torch

from ternary_lib import load_model
from ternary_lib.operations import all_operations, is_commutative

pathway = load_model("ternary_v5_5").pathway_a
x = all_operations()  # [19683, 9] in {-1, 0, 1}
with torch.inference_mode():
    mu, _ = pathway.encoder(x)  # [19683, 16]: the centre of each operation's code
spread = mu.var(0)
first, second = spread.argsort(descending=True)[:2].tolist()  # the two dimensions that tell operations apart most
print("variance of μ by dimension:", " ".join(f"{value:.2f}" for value in spread.sort(descending=True).values))

figure, axes = plt.subplots(figsize=(5, 4.4), layout="constrained")
commutative = is_commutative(x)
axes.scatter(mu[~commutative, first], mu[~commutative, second], s=1, color="0.6", linewidths=0, label="other")
axes.scatter(mu[commutative, first], mu[commutative, second], s=9, color="C0", linewidths=0, label="commutative")
axes.set(xlabel=f"μ, dimension {first}", ylabel=f"μ, dimension {second}", title="All operations as pathway A sees them")
axes.legend(loc="upper left")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "latent_space.png", dpi=150)
