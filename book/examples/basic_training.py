"""Train a small run from a configuration, and read what it measured: python book/examples/basic_training.py"""

from ternary_lib import load_config, train
from ternary_lib.records import default_run_dir

# Eight epochs with all four phases in them. Any number of a configuration can be overridden by its dotted key.
fewer_draws = {"evaluation.budgets": [10_000], "evaluation.final_draws": 10_000, "evaluation.cell_draws": 19_683}
config = load_config("configs/smoke.yaml", {"name": "basic_training", **fewer_draws})
run = train(config, default_run_dir(config), resume=True)  # run again, it loads the finished run

print("epoch  phase    ρ   loss  reconstructed by A, B")
for i, epoch in enumerate(run.history["epoch"]):
    row = {name: values[i] for name, values in run.history.items()}
    print(f"{epoch:5} {row['phase']:6} {row['rho']:5.2f} {row['train.total']:6.2f} {row['a.exact_all']:10.1%} {row['b.exact_all']:9.1%}")
print(f"best validation loss: {run.record['best_validation_loss']:.2f} nats, in epoch {run.record['best_epoch']}")
