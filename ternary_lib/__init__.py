"""Ternary VAE v5.5: a dual-pathway variational autoencoder over all 19,683 ternary operations.

The five things to begin with stand here: ``load_config`` and ``train`` make a run, ``load_model`` loads a trained model,
``TernaryVAE`` is an untrained one, ``sample_coverage`` measures either. They are imported when first used, so importing the
package is cheap; PyTorch is loaded by the submodules that need it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers
    from ternary_lib.config import load_config
    from ternary_lib.coverage import sample_coverage
    from ternary_lib.model import TernaryVAE
    from ternary_lib.training import train
    from ternary_lib.weights import load_model

__version__ = "0.3.0"
__all__ = ["TernaryVAE", "load_config", "load_model", "sample_coverage", "train"]

_HOMES = {"TernaryVAE": "model", "load_config": "config", "load_model": "weights", "sample_coverage": "coverage", "train": "training"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
