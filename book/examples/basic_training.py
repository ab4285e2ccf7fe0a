"""A small run from a configuration: python book/examples/basic_training.py"""

from ternary_lib import load_config, train
from ternary_lib.records import default_run_dir

# Eight epochs with all four phases in them. Any number can be overridden.
changes = {"name": "basic_training", "evaluation.cell_draws": 19_683}
changes |= {"evaluation.budgets": [10_000], "evaluation.final_draws": 10_000}
config = load_config("configs/smoke.yaml", changes)
run = train(config, default_run_dir(config), resume=True)  # again: it is loaded

print("epoch  phase     ρ    loss  rebuilt by A   by B")
names = ("epoch", "phase", "rho", "train.total", "a.exact_all", "b.exact_all")
for row in zip(*(run.history[name] for name in names), strict=True):
    print("{:5} {:6} {:5.2f} {:7.2f} {:13.1%} {:6.1%}".format(*row))
best, epoch = run.record["best_validation_loss"], run.record["best_epoch"]
print(f"best validation loss: {best:.2f} nats, in epoch {epoch}")
