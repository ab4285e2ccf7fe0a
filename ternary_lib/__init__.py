"""Ternary VAE v5.5: a dual-pathway variational autoencoder over all 19,683 ternary operations.

Importing the package is cheap; PyTorch is loaded by the submodules that need it.
"""

__version__ = "0.3.0"
