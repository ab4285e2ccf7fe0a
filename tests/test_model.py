"""Parameter counts, sampling, cross-injection and the isolation of gradients (Theorem 1 of the sources)."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ternary_lib.config import ModelConfig
from ternary_lib.losses import cross_entropy, kl_divergence, total_loss
from ternary_lib.model import DecoderA, DecoderB, Encoder, ResidualBlock, TernaryVAE, cross_inject, initialise, sample_latent
from ternary_lib.operations import all_operations
from ternary_lib.randomness import stream
from ternary_lib.statenet import StateNet

RHOS = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
X = all_operations()[::500]  # [40, 9]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def model():
    return TernaryVAE(ModelConfig(), stream(1, "weights"))


def losses_of(model, rho, tau=1.0):
    output = model(X, tau, tau, rho, generator(3))
    return total_loss(output, X + 1, (0.6, 0.4), torch.tensor([0.7, 0.7, 0.3]))


def gradients(value, module):
    """Gradient of ``value`` by each parameter, None where autograd finds no path."""
    return torch.autograd.grad(value, list(module.parameters()), retain_graph=True, allow_unused=True)


# --- shape and size ----------------------------------------------------------------------------------------------


def test_parameter_counts(model):
    a, b = model.pathway_a, model.pathway_b
    assert count(a.encoder) == count(b.encoder) == 45_792
    assert count(a.decoder) == 4_411
    assert count(b.decoder) == 71_707
    assert count(a) == 50_203
    assert count(b) == 117_499
    assert count(model.statenet) == 1_068
    assert count(model) == 168_770


def test_no_parameter_is_shared(model):
    addresses = [p.data_ptr() for p in model.parameters()]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(latent_dim=9),
        ModelConfig(encoder_widths=(5,), decoder_a_widths=(7,)),
        ModelConfig(latent_dim=3, decoder_b_width=10, decoder_b_blocks=0),
        ModelConfig(decoder_b_blocks=3),
    ],
)
def test_widths_are_read_from_the_configuration(config):
    def linear(*widths):
        return sum((i + 1) * o for i, o in itertools.pairwise(widths))

    d, w = config.latent_dim, config.decoder_b_width
    encoder = linear(9, *config.encoder_widths) + 2 * linear(config.encoder_widths[-1], d)
    decoder_b = linear(d, w) + 2 * config.decoder_b_blocks * linear(w, w) + linear(w, 27)
    expected = 2 * encoder + linear(d, *config.decoder_a_widths, 27) + decoder_b + 1_068
    model = TernaryVAE(config, generator())
    assert count(model) == expected
    assert model(X, 1.0, 1.0, 0.5, generator()).b.logits.shape == (len(X), 9, 3)


def test_shapes(model):
    for n in (1, 7):
        for pathway in model(X[:n], 1.0, 1.0, 0.5, generator()):
            assert [t.shape for t in (pathway.mu, pathway.logvar, pathway.z, pathway.z_tilde)] == [(n, 16)] * 4
            assert pathway.logits.shape == (n, 9, 3)
        for decoder in (model.pathway_a.decoder, model.pathway_b.decoder):
            assert decoder(torch.zeros(n, 16)).shape == (n, 9, 3)


def test_logits_of_position_j_are_outputs_3j_to_3j_plus_2():
    for decoder in (DecoderA(16, (32, 64)), DecoderB(16, 128, 2)):
        nn.init.zeros_(decoder.out.weight)
        with torch.no_grad():
            decoder.out.bias.copy_(torch.arange(27))
        assert torch.equal(decoder(torch.zeros(1, 16))[0], torch.arange(27.0).view(9, 3))


def test_encoder_and_decoders_are_the_layers_of_the_table(model):
    """Each module equals its layers written out one by one."""
    relu = torch.relu
    encoder = model.pathway_a.encoder
    linears = [layer for layer in encoder.body if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == [(9, 256), (256, 128), (128, 64)]
    h = X.float()
    for layer in linears:
        h = relu(h @ layer.weight.T + layer.bias)
    torch.testing.assert_close(encoder(X), (encoder.mu(h), encoder.logvar(h)))

    z = torch.randn(5, 16, generator=generator())
    a = [layer for layer in model.pathway_a.decoder.body if isinstance(layer, nn.Linear)]
    out_a = model.pathway_a.decoder.out
    assert [(layer.in_features, layer.out_features) for layer in (*a, out_a)] == [(16, 32), (32, 64), (64, 27)]
    torch.testing.assert_close(model.pathway_a.decoder(z), out_a(relu(a[1](relu(a[0](z))))).view(5, 9, 3))

    b = model.pathway_b.decoder
    first, second = b.blocks
    h = relu(b.inp(z))
    h = h + first.outer(relu(first.inner(h)))
    h = relu(h)
    h = h + second.outer(relu(second.inner(h)))  # no ReLU after the last block
    torch.testing.assert_close(b(z), b.out(h).view(5, 9, 3))


def test_a_residual_block_whose_outer_layer_is_zero_changes_nothing():
    block = ResidualBlock(8)
    nn.init.zeros_(block.outer.weight)
    nn.init.zeros_(block.outer.bias)
    h = torch.randn(3, 8, generator=generator())
    assert torch.equal(block(h), h)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.float32, torch.float64])
def test_integers_and_floats_agree(model, dtype):
    reference = model(X, 1.0, 1.0, 0.3, generator(5))
    got = model(X.to(dtype), 1.0, 1.0, 0.3, generator(5))
    assert all(torch.equal(g, r) for ours, theirs in zip(got, reference, strict=True) for g, r in zip(ours, theirs, strict=True))


# --- initialisation ----------------------------------------------------------------------------------------------


def test_initial_weights_are_a_function_of_the_generator_alone():
    torch.manual_seed(0)
    one = TernaryVAE(ModelConfig(), generator(1)).state_dict()
    torch.manual_seed(99)
    same, other = (TernaryVAE(ModelConfig(), generator(seed)).state_dict() for seed in (1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert sum(torch.equal(one[name], other[name]) for name in one) == 2, "only LayerNorm's constants agree"


def test_initial_weights_follow_pytorchs_default_distribution():
    layer = nn.Linear(100, 4_000)
    initialise(layer, generator())
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= 0.1  # U(-1/√100, 1/√100)
        assert values.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)


# --- sampling ----------------------------------------------------------------------------------------------------


def test_tau_zero_returns_mu_and_draws_nothing(model):
    source = generator(1)
    before = source.get_state()
    output = model(X, 0.0, 0.0, 0.0, source)
    assert torch.equal(source.get_state(), before)
    for pathway in output:
        assert torch.equal(pathway.z, pathway.mu)
        assert torch.equal(pathway.z_tilde, pathway.mu)


def test_sampling_is_mu_plus_tau_sigma_epsilon():
    mu, logvar = torch.randn(4, 16, generator=generator(1)), torch.randn(4, 16, generator=generator(2))
    epsilon = torch.randn(4, 16, generator=generator(3))
    z = sample_latent(mu, logvar, 0.7, generator(3))
    torch.testing.assert_close(z, mu + 0.7 * torch.exp(logvar / 2) * epsilon)


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0, 1.5])
def test_the_samples_scatter_by_tau_sigma(tau):
    mu, logvar = torch.full((100_000, 1), 2.0), torch.full((100_000, 1), math.log(9.0))
    z = sample_latent(mu, logvar, tau, generator())
    assert z.mean().item() == pytest.approx(2.0, abs=5 * 3 * tau / 100_000**0.5)
    assert z.std().item() == pytest.approx(3 * tau, rel=0.01)


def test_the_same_generator_gives_the_same_draws_and_no_other(model):
    one, same, other = (model(X, 1.0, 1.0, 0.3, generator(seed)) for seed in (7, 7, 8))
    assert torch.equal(one.a.logits, same.a.logits)
    assert torch.equal(one.b.z, same.b.z)
    assert not torch.equal(one.a.z, other.a.z)
    global_state = torch.get_rng_state()
    model(X, 1.0, 1.0, 0.3, generator(7))
    assert torch.equal(torch.get_rng_state(), global_state), "the global stream is left alone"


def test_the_pathways_draw_their_own_noise(model):
    output = model(X, 1.0, 1.0, 0.0, generator(7))
    noise = [(p.z - p.mu) / torch.exp(p.logvar / 2) for p in output]
    assert abs(torch.corrcoef(torch.stack([n.flatten() for n in noise]))[0, 1]) < 0.15


# --- cross-injection ---------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_cross_injection_formula(rho, seed):
    own, other = torch.randn(2, 5, 16, generator=generator(seed), dtype=torch.float64)
    torch.testing.assert_close(cross_inject(own, other, rho), (1 - rho) * own + rho * other)


@pytest.mark.parametrize("rho", RHOS)
def test_the_decoders_read_the_mixture(model, rho):
    a, b = model(X, 1.0, 1.0, rho, generator(2))
    torch.testing.assert_close(a.z_tilde, (1 - rho) * a.z + rho * b.z)
    torch.testing.assert_close(b.z_tilde, (1 - rho) * b.z + rho * a.z)
    assert torch.equal(a.logits, model.pathway_a.decoder(a.z_tilde))
    assert torch.equal(b.logits, model.pathway_b.decoder(b.z_tilde))


def test_rho_one_exchanges_the_codes_and_one_half_averages_them(model):
    a, b = model(X, 1.0, 1.0, 1.0, generator(2))
    assert torch.equal(a.z_tilde, b.z)
    assert torch.equal(b.z_tilde, a.z)
    assert not torch.allclose(a.z_tilde, b.z_tilde, atol=1e-3), "the sources' 'averaged' would make these equal"
    a, b = model(X, 1.0, 1.0, 0.5, generator(2))
    torch.testing.assert_close(a.z_tilde, b.z_tilde)
    torch.testing.assert_close(a.z_tilde, (a.z + b.z) / 2)


def test_rho_zero_isolates(model):
    for pathway in model(X, 1.0, 1.0, 0.0, generator(2)):
        assert torch.equal(pathway.z_tilde, pathway.z)


# --- gradient isolation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_theorem_1_no_gradient_crosses(model, rho, tau):
    losses = losses_of(model, rho, tau)
    assert all(gradient is None for gradient in gradients(losses.loss_a, model.pathway_b)), "∂L_A/∂θ_B = 0 exactly"
    assert all(gradient is None for gradient in gradients(losses.loss_b, model.pathway_a)), "∂L_B/∂θ_A = 0 exactly"


@pytest.mark.parametrize("rho", RHOS)
def test_every_parameter_that_should_receive_a_gradient_does(model, rho):
    losses = losses_of(model, rho)
    for loss, pathway in ((losses.loss_a, model.pathway_a), (losses.loss_b, model.pathway_b)):
        for (name, _), gradient in zip(pathway.named_parameters(), gradients(loss, pathway), strict=True):
            assert gradient is not None, name
            assert gradient.abs().max() > 0, name
    assert all(gradient is None for gradient in gradients(losses.total, model.statenet))


def test_alignment_is_the_one_term_that_couples_the_encoders(model):
    alignment = losses_of(model, 0.3).alignment
    for pathway in (model.pathway_a, model.pathway_b):
        assert all(gradient is not None and gradient.any() for gradient in gradients(alignment, pathway.encoder))
        assert all(gradient is None for gradient in gradients(alignment, pathway.decoder))


def test_the_total_gradient_is_the_weighted_sum_of_its_own_parts(model):
    losses = losses_of(model, 0.5)
    for loss, pathway in ((losses.loss_a, model.pathway_a), (losses.loss_b, model.pathway_b)):
        own, align = gradients(loss, pathway), gradients(losses.alignment, pathway)
        for total, mine, shared in zip(gradients(losses.total, pathway), own, align, strict=True):
            torch.testing.assert_close(total, 0.7 * mine + (0 if shared is None else 0.3 * shared), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rho", RHOS)
def test_the_encoder_feels_the_reconstruction_by_one_minus_rho(model, rho):
    output = model(X, 1.0, 1.0, rho, generator(2))
    for pathway in output:
        ce = cross_entropy(pathway.logits, X + 1)
        at_code, at_mixture = torch.autograd.grad(ce, [pathway.z, pathway.z_tilde])
        torch.testing.assert_close(at_code, (1 - rho) * at_mixture)


def test_at_rho_one_an_encoder_learns_from_its_kl_alone(model):
    output = model(X, 1.0, 1.0, 1.0, generator(2))
    for pathway, module in zip(output, (model.pathway_a, model.pathway_b), strict=True):
        assert not any(gradient.any() for gradient in gradients(cross_entropy(pathway.logits, X + 1), module.encoder))
        assert all(gradient.any() for gradient in gradients(kl_divergence(pathway.mu, pathway.logvar), module.encoder))


def test_isolated_gradients_are_not_isolated_losses(model):
    """The stop-gradient hides θ_B from autograd; L_A depends on it all the same, where ρ > 0."""
    moved = TernaryVAE(ModelConfig(), stream(1, "weights"))
    with torch.no_grad():
        moved.pathway_b.encoder.mu.bias += 1.0
    assert losses_of(moved, 0.0).loss_a.item() == losses_of(model, 0.0).loss_a.item()
    assert losses_of(moved, 0.5).loss_a.item() != losses_of(model, 0.5).loss_a.item()


def test_without_the_stop_gradient_it_crosses_and_every_value_stays(model):
    """The ablation, and the contrast that shows the tests above can fail."""
    open_ = TernaryVAE(ModelConfig(stop_gradient=False))
    open_.load_state_dict(model.state_dict())
    output, closed = open_(X, 1.0, 1.0, 0.5, generator(2)), model(X, 1.0, 1.0, 0.5, generator(2))
    assert torch.equal(output.a.logits, closed.a.logits) and torch.equal(output.b.logits, closed.b.logits)
    for own, other in (("a", "b"), ("b", "a")):
        crossed = gradients(cross_entropy(getattr(output, own).logits, X + 1), getattr(open_, f"pathway_{other}").encoder)
        assert all(gradient is not None and gradient.any() for gradient in crossed)


def test_modules_can_be_used_alone():
    mu, logvar = Encoder((256, 128, 64), 16)(X)
    assert mu.shape == logvar.shape == (len(X), 16)
    assert isinstance(TernaryVAE(ModelConfig()).statenet, StateNet)
