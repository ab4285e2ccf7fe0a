"""Configurations: what ships loads, what is wrong is refused in one line that names the fault."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ternary_lib.config import PROJECT_ROOT, Config, ConfigError, config_from_mapping, config_hash, dump_config, load_config, parse_yaml

SMOKE = "configs/smoke.yaml"
SHIPPED = sorted(path.name for path in (PROJECT_ROOT / "configs").glob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    def write(text, name="c.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path, overrides=None):
    """The message of the ConfigError, checked to be one short line."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert message.strip() and "\n" not in message
    assert len(message) < 600
    return message


# --- overrides as text, as papermill hands them over --------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ['{"schedules.tau_a.amplitude": 0.2}', "{schedules.tau_a.amplitude: 0.2}", "{schedules: {tau_a: {amplitude: 0.2}}}"],
)
def test_overrides_may_be_text(text):
    assert load_config(SMOKE, text) == load_config(SMOKE, {"schedules.tau_a.amplitude": 0.2}) != load_config(SMOKE)


def test_no_overrides_and_a_seed_that_beats_theirs():
    assert load_config(SMOKE, "") == load_config(SMOKE, "{}") == load_config(SMOKE) != load_config(SMOKE, seed=7)
    assert load_config(SMOKE, {"seed": 1}, 7).seed == 7 and load_config(SMOKE, {"seed": 1}).seed == 1


@pytest.mark.parametrize("text", ["seed", "[1]", "3", "{seed: ", "{a: 1, a: 2}", "*x", "\0", "[" * 5000])
def test_text_that_is_no_mapping_is_refused_with_an_example(text):
    assert "expected a mapping such as '{schedules.tau_a.amplitude: 0.2}'" in refusal(SMOKE, text)


# --- what ships --------------------------------------------------------------------------------------------------


def test_the_specified_configurations_ship():
    names = {"ternary_v5_5", "ternary_v5_5_published", "ternary_v5_5_fast", "ternary_v5_5_reproducible", "smoke"}
    assert {f"{name}.yaml" for name in names} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_loads_and_is_named_after_its_file(name):
    assert load_config(f"configs/{name}").name == Path(name).stem


def test_production_is_the_defaults_written_out():
    assert load_config("configs/ternary_v5_5.yaml") == Config()


def test_reproducible_is_production_with_deterministic_algorithms():
    theirs = load_config("configs/ternary_v5_5_reproducible.yaml").model_dump()
    assert theirs.pop("name") != "ternary_v5_5"
    assert theirs["training"].pop("deterministic") is True
    ours = Config().model_dump()
    assert ours["training"].pop("deterministic") is False
    del ours["name"]
    assert theirs == ours


def test_published_differs_from_production_where_the_public_implementation_does():
    def leaves(value, prefix=""):
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}{key}.") if isinstance(inner, dict) else [(prefix + key, inner)]

    production = dict(leaves(Config().model_dump(mode="json")))
    published = dict(leaves(load_config("configs/ternary_v5_5_published.yaml").model_dump(mode="json")))
    changed = {key: value for key, value in published.items() if production.get(key, "absent") != value}
    assert changed == {
        "name": "ternary_v5_5_published",
        "schedules.rho.gate": "fall_back", "schedules.rho.ramp_epochs": 80, "schedules.tau_a.offset": 0.0,
        "schedules.lambda_3.base": 0.3, "schedules.lambda_3.amplitude": 0.15, "schedules.lambda_3.period": 30,
        "schedules.lambda_3.offset": math.pi / 2,
        "loss.repulsion": "off_diagonal", "loss.latent_entropy": "hard",
        "balance.lambda_step": 0.02, "balance.momentum": 0.5, "balance.initial_norm": 1.0, "balance.norm_after_clip": True,
        "statenet.signal": "none",
    }  # fmt: skip


def test_paths_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/smoke.yaml").name == "smoke"
    assert load_config(PROJECT_ROOT / "configs" / "smoke.yaml").name == "smoke"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "smoke.yaml").write_text("name: mine")
    assert load_config("configs/smoke.yaml").name == "mine", "the current folder comes first"


# --- overrides and extends ---------------------------------------------------------------------------------------


def test_overrides_reach_any_depth_and_leave_the_rest():
    cfg = load_config("configs/ternary_v5_5.yaml", {"seed": 7, "schedules.tau_a.boost": 0.4, "balance.lambdas": [0.6, 0.7, 0.3]})
    assert (cfg.seed, cfg.schedules.tau_a.boost, cfg.balance.lambdas) == (7, 0.4, (0.6, 0.7, 0.3))
    assert cfg.schedules.tau_a.period == 30
    assert load_config("configs/ternary_v5_5.yaml", {"schedules.lambda_3.base": 0.2}).schedules.lambda_3.base == 0.2
    assert load_config("configs/ternary_v5_5_published.yaml", {"schedules.lambda_3": None}).schedules.lambda_3 is None


def test_overrides_are_not_changed_by_loading():
    given_ = {"schedules": {"tau_a": {"boost": 0.4}}, "schedules.tau_b.boost": 0.2}
    copy = {"schedules": {"tau_a": {"boost": 0.4}}, "schedules.tau_b.boost": 0.2}
    load_config("configs/smoke.yaml", given_)
    assert given_ == copy


def test_a_nested_override_changes_only_what_it_names():
    config = load_config("configs/smoke.yaml", {"schedules": {"tau_a": {"boost": 0.4}}})
    assert config.schedules.tau_a.boost == 0.4
    assert config.schedules.total_epochs == load_config("configs/smoke.yaml").schedules.total_epochs


def test_extends_merges_and_the_nearer_file_wins(write):
    write("seed: 1\nschedules: {tau_a: {boost: 0.4, period: 20}}\nmodel: {encoder_widths: [8, 4]}", "base.yaml")
    write("extends: base.yaml\nschedules: {tau_a: {boost: 0.2}}\nmodel: {encoder_widths: [5]}", "middle.yaml")
    cfg = load_config(write("extends: middle.yaml\nseed: 3"))
    assert (cfg.seed, cfg.schedules.tau_a.boost, cfg.schedules.tau_a.period) == (3, 0.2, 20)
    assert cfg.model.encoder_widths == (5,), "lists are replaced, not joined"
    shipped = load_config(write("extends: configs/smoke.yaml"))
    assert shipped.schedules.total_epochs == 8


def test_extends_in_a_circle_is_refused(write):
    write("extends: b.yaml", "a.yaml")
    write("extends: c.yaml", "b.yaml")
    assert "extends itself" in refusal(write("extends: a.yaml"))
    assert "extends itself" in refusal(write("extends: own.yaml", "own.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("extends: 3", "extends: expected a file name"), ("extends: [a]", "extends: expected a file name"),
     ("extends: no_such.yaml", "no_such.yaml: no such configuration file"), ("extends: .", ".: no such configuration file"),
     ('extends: ""', "no such configuration file")],
)  # fmt: skip
def test_a_base_that_is_no_file_is_refused(write, text, words):
    assert words in refusal(write(text))


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ("seeds: 3", "seeds", "seed"),
        ("schedules: {tau_a: {bost: 1}}", "schedules.tau_a.bost", "boost"),
        ("schedules: {lambda_3: {bas: 1}}", "schedules.lambda_3.bas", "base"),
        ("trainning: {batch_size: 1}", "trainning", "training"),
        ("balance: {zzzz: 1}", "balance.zzzz", "lambdas"),  # nothing near: all are listed
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(write, text, key, word):
    message = refusal(write(text))
    assert f"{key}: unknown key" in message
    assert word in message.split("unknown key")[1]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('seed: "3"', "seed"), ("seed: true", "seed"), ("seed: 1.0", "seed"), ("seed: -1", "seed"), ("seed: null", "seed"),
        ("seed: 2001-01-01", ""), ("seed: !!binary aGVsbG8=", ""), ("seed: !!set {a}", ""),
        ("model: 3", "model"), ("model: {latent_dim: 0}", "model.latent_dim"), ("model: {encoder_widths: 5}", "model.encoder_widths"),
        ("model: {encoder_widths: [5, 0]}", "model.encoder_widths.1"),
        ("schedules: {tau_a: {boost: .nan}}", "schedules.tau_a.boost"), ("schedules: {tau_a: {boost: .inf}}", "schedules.tau_a.boost"),
        ("schedules: {tau_a: {boost: 1e999}}", "schedules.tau_a.boost"), ("schedules: {tau_a: {period: 0}}", "schedules.tau_a.period"),
        ("schedules: {tau_a: {period: '30'}}", "schedules.tau_a.period"), ("schedules: {phases: [1, 2]}", "schedules.phases"),
        ("schedules: {phases: [3, 2, 4]}", "schedules"), ("schedules: {rho: {final: 1.1}}", "schedules.rho.final"),
        ("schedules: {rho: {gate: open}}", "schedules.rho.gate"),
        ("schedules: {learning_rate: {values: [0.1]}}", "schedules.learning_rate"),
        ("schedules: {learning_rate: {values: [0.1, 0.2, 0.3], milestones: [5, 5]}}", "schedules.learning_rate"),
        ("loss: {repulsion: gausian}", "loss.repulsion"), ("loss: {latent_bins: 1}", "loss.latent_bins"),
        ("balance: {lambdas: [0.1, 0.7, 0.3]}", "balance"), ("balance: {scale_bounds: [2.0, 0.5]}", "balance"),
        ("balance: {momentum: 1.1}", "balance.momentum"), ("statenet: {signal: coverage}", "statenet.signal"),
        ("data: {train: 19683}", "data"), ("evaluation: {budgets: []}", "evaluation"), ("evaluation: {budgets: [20, 10]}", "evaluation"),
        ("evaluation: {final_draws: 10}", "evaluation"), ("name: ../../etc/passwd", "name"), ('name: "a b"', "name"),
        ('name: "a\\n"', "name"), ('name: ""', "name"), ("training: {deterministic: 1}", "training.deterministic"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_key(write, text, key):
    path = write(text)
    assert refusal(path).startswith(f"{path}: {key}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("model: {encoder_widths: []}", "model.encoder_widths"),
        ("model: {decoder_a_widths: []}", "model.decoder_a_widths"),
        ("data: {split_seed: 1" + "0" * 30 + "}", "data.split_seed"),
        ("statenet: {lr_bounds: [0.1, 0.01]}", "statenet"),
    ],
)
def test_values_that_no_run_can_use_are_refused(write, text, key):
    path = write(text)
    assert refusal(path).startswith(f"{path}: {key}")


def test_a_path_too_long_for_the_system_is_refused():
    assert "no such configuration file" in refusal("x" * 5_000)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "YAML"), ("a: b: c", "YAML"), ("\t", "YAML"), ("a: *b", "alias"), ("[" * 5_000, "YAML"), (b"\xff\xfe\x00", "YAML"),
        ("seed: 1\nseed: 2", "twice"), ("schedules: {total_epochs: 1, total_epochs: 2}", "twice"), ("1: 2", "text"), ("? [a]\n: b", "text"),
        ("[1, 2]", "mapping"), ("3", "mapping"), ("text", "mapping"), ("seed: 1\n---\nseed: 2", "YAML"),
        ("seed: !!python/object/apply:os.system [ls]", "YAML"), ("seed: !!python/name:os.system", "YAML"),
        ("seed: 1" + "0" * 5_000, "YAML"),
        ("<<: {seed: 3}", "YAML"),
    ],
)  # fmt: skip
def test_text_that_is_no_configuration_is_refused(write, text, word):
    assert word in refusal(write(text))


def test_an_alias_bomb_is_refused_before_it_grows(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 6)]  # 9⁶ words, were they followed
    assert "alias" in refusal(write("\n".join(lines)))


def test_a_huge_file_is_refused_unread(write):
    assert "larger" in refusal(write("#" * 1_000_001))


@pytest.mark.parametrize("path", ["no_such.yaml", "configs", "", "configs/smok.yaml", "a\0b"])
def test_a_path_that_is_no_file_is_refused(path):
    message = refusal(path)
    assert "no such configuration file" in message
    assert "configs/smoke.yaml" in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [({"": 1}, "override '': expected a dotted key"), ({"a..b": 1}, "override 'a..b'"), ({".seed": 1}, "override '.seed'"),
     ({3: 4}, "override 3"), ({"seed": float("nan")}, "seed: input should be a valid integer"), ({"seed": object()}, "type object"),
     ({"seed.x": 3}, "seed: input should be"), ({"schedules.tau_a.bost": 1}, "did you mean 'boost'"),
     ({"schedules.tau_a": 3}, "schedules.tau_a: input should be"), ({"extends": "configs/smoke.yaml"}, "extends: unknown key"),
     ({"name": "\ud800"}, "name")],
)  # fmt: skip
def test_a_wrong_override_is_refused(overrides, words):
    assert words in refusal("configs/smoke.yaml", overrides)


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_text_loads_or_is_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        assert isinstance(load_config(path), Config)
    except ConfigError as error:
        assert "\n" not in str(error)


keys = st.sampled_from([*Config.model_fields, "tau_a", "boost", "sead"])
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(keys, json_like, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_mapping_is_a_configuration_or_refused_in_one_line(data):
    try:
        assert isinstance(config_from_mapping(data), Config)
    except ConfigError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("odd", ["a\nb", "a\x1eb", "a\x85b", "a\u2028b", "\x1b[2J", "\u202e", "\r"])
def test_what_a_line_quotes_cannot_break_it_nor_steer_a_terminal(odd):
    with pytest.raises(ConfigError) as raised:
        config_from_mapping({odd: 1})
    line = str(raised.value)
    assert len(line.splitlines()) == 1 and line.isprintable() and repr(odd)[1:-1] in line


# --- YAML and round trips ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("1E-3", 0.001), ("5e3", 5000.0), ("1.e-3", 0.001), (".5e1", 5.0), ("-1e-3", -0.001)]
)
def test_exponents_without_a_point_are_numbers(text, value):
    assert parse_yaml(f"v: {text}") == {"v": value}
    assert isinstance(parse_yaml(f"v: {text}")["v"], float)


def test_words_that_only_look_like_numbers_stay_words():
    assert parse_yaml("[e3, 1e, 1e-3x, '1e-3']") == ["e3", "1e", "1e-3x", "1e-3"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_dumped_configuration_reads_back_equal(write, name):
    cfg = load_config(f"configs/{name}")
    text = dump_config(cfg)
    again = load_config(write(text))
    assert again == cfg
    assert config_hash(again) == config_hash(cfg)
    assert "extends" not in text, "the dump stands alone"


@given(
    seed=st.integers(0, 2**63 - 1),
    boost=st.just(0.0) | st.floats(1e-30, 1e9),
    rate=st.floats(1e-12, 1),
    widths=st.lists(st.integers(1, 10_000), min_size=1, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_any_values_survive_the_round_trip(tmp_path_factory, seed, boost, rate, widths):
    overrides = {"seed": seed, "schedules.tau_a.boost": boost, "statenet.learning_rate": rate, "model.encoder_widths": widths}
    cfg = load_config("configs/ternary_v5_5.yaml", overrides)
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(dump_config(cfg), encoding="utf-8")
    assert load_config(path) == cfg
    assert (cfg.seed, cfg.schedules.tau_a.boost, cfg.statenet.learning_rate, cfg.model.encoder_widths) == (seed, boost, rate, tuple(widths))


def test_a_key_of_any_length_is_quoted_in_part():
    assert len(refusal("configs/smoke.yaml", {"evaluation": {"x" * 5_000: 1}})) < 300


@pytest.mark.parametrize("value", [1e-320, 1e-31, 1.1e30, -1e300])
@pytest.mark.parametrize("key", ["schedules.tau_a.offset", "schedules.beta.lag"])
def test_a_number_that_single_precision_cannot_compute_with_is_refused(key, value):
    assert f"{key}: input should be 0 or of a size from 1e-30 to 1e+30, got " in refusal("configs/smoke.yaml", {key: value})


@pytest.mark.parametrize("key", ["loss.free_bits", "schedules.tau_a.period", "statenet.penalty", "statenet.learning_rate"])
def test_so_is_a_positive_one(key):
    assert load_config("configs/smoke.yaml", {key: 1e30}) and load_config("configs/smoke.yaml", {key: 1e-30})
    for value in (1e-31, 1e31):
        assert f"{key}: " in refusal("configs/smoke.yaml", {key: value})


def test_the_hash_is_of_the_numbers_and_not_of_the_name():
    cfg = load_config("configs/ternary_v5_5.yaml")
    assert config_hash(load_config("configs/ternary_v5_5.yaml", {"name": "other"})) == config_hash(cfg)
    assert config_hash(load_config("configs/ternary_v5_5.yaml", {"seed": 43})) != config_hash(cfg)
    assert len(config_hash(cfg)) == 64


def test_a_configuration_cannot_be_changed():
    cfg = Config()
    with pytest.raises(ValidationError, match="frozen"):
        cfg.seed = 3
    with pytest.raises(ValidationError, match="frozen"):
        cfg.schedules.tau_a.boost = 3.0
