"""What a sweep is: the variants and seeds that a YAML file, or a list of configurations, asks for, as a list of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationError

from ternary_lib.config import Config, ConfigError, config_hash, describe_fault, find_config, load_config, read_overrides
from ternary_lib.sections import Section, Seed
from ternary_lib.strict_yaml import nearest, read_yaml


def _each_once(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("each seed is to be given once")
    return seeds


Seeds = Annotated[list[Seed], Field(min_length=1, max_length=1_000), AfterValidator(_each_once)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Variant(Section):
    """One line of a sweep: what is changed, and how a reader calls it."""

    label: str = ""
    config: str | None = None  # another configuration than the sweep's, relative to the sweep's file
    set: dict[str, Any] = Field(default_factory=dict)  # dotted overrides, after the sweep's own
    seeds: Seeds | None = None  # None: the sweep's
    pathways: list[Literal["a", "b"]] = Field(default_factory=lambda: ["a", "b"])  # those that are trained; the others are not compared


class SweepFile(Section):
    """A sweep as its YAML file states it."""

    name: Name
    config: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    seeds: Seeds
    variants: Annotated[dict[Name, Variant], Field(min_length=1, max_length=1_000)]


class Task(NamedTuple):
    """One run of a sweep."""

    sweep: str
    variant: str
    label: str
    pathways: tuple[str, ...]
    config: Config

    @property
    def run(self) -> str:
        """Its name within the sweep."""
        return f"{self.variant}-seed{self.config.seed}"

    @property
    def about(self) -> dict[str, Any]:
        """What its record says of it besides what every run's does."""
        return {"sweep": self.sweep, "variant": self.variant, "label": self.label, "pathways": list(self.pathways)}


def load_sweep(path: str | Path) -> list[Task]:
    """Every run of a sweep file, seed by seed: cut short, each variant has about as many seeds as any other.

    Raises:
        ConfigError: one line naming the file, the variant and what was expected.
    """
    found = find_config(path)
    try:
        sweep = SweepFile.model_validate(read_yaml(found))
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_fault(error, SweepFile)}") from None
    tasks = []
    for name, variant in sweep.variants.items():
        base = variant.config or sweep.config
        if base is None:
            raise ConfigError(f"{path}: variants.{name}: names no config, and neither does the sweep")
        beside = found.parent / base
        for seed in variant.seeds or sweep.seeds:
            changes = sweep.set | variant.set | {"name": name, "seed": seed}
            try:
                config = load_config(beside if beside.is_file() else base, changes)
            except ConfigError as error:
                raise ConfigError(f"{path}: variants.{name}: {error}") from None
            tasks.append(Task(sweep.name, name, variant.label or name, tuple(variant.pathways), config))
    return sorted(tasks, key=lambda task: task.config.seed)


def of_configs(
    paths: Sequence[str | Path], seeds: Sequence[int], overrides: Mapping[str, Any] | Sequence[Mapping[str, Any] | str] | None = None
) -> list[Task]:
    """A sweep of several configuration files, each on every seed.

    ``overrides`` are for all of them or, as a list, one mapping (or its text) for each; the same configuration under the same name
    counts once. A name that is taken is made another by the configuration's hash, so that it is the same in every comparison.
    """
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {' '.join(map(str, seeds))[:120]}: each is to be given once")
    shared = overrides is None or isinstance(overrides, Mapping)
    each = [read_overrides(one) for one in ([overrides] * len(paths) if shared else overrides)]
    if len(each) != len(paths):
        raise ConfigError(f"{len(each)} mappings of overrides for {len(paths)} configurations")
    tasks: list[Task] = []
    chosen: set[tuple[str, str]] = set()
    for path, changes in zip(map(str, paths), each, strict=True):
        config = load_config(path, changes)
        if (config.name, config_hash(config)) in chosen:
            continue
        chosen.add((config.name, config_hash(config)))
        name = config.name
        if name in {task.variant for task in tasks}:
            name = f"{name[:56]}-{config_hash(config)[:6]}"
        label = ", ".join([config.name, *(f"{key} = {value}" for key, value in changes.items() if key != "name")])
        for seed in seeds:
            tasks.append(Task("compare", name, label, ("a", "b"), load_config(path, {**changes, "name": name, "seed": seed})))
    return sorted(tasks, key=lambda task: task.config.seed)


def select(tasks: Sequence[Task], variants: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Task]:
    """The tasks of some variants and seeds; all where none is named."""
    known = list(dict.fromkeys(task.variant for task in tasks))
    for name in variants:
        if name not in known:
            raise ConfigError(f"{name}: no variant of {tasks[0].sweep}{nearest(name, known)}")
    chosen = [t for t in tasks if (not variants or t.variant in variants) and (not seeds or t.config.seed in seeds)]
    if not chosen:
        raise ConfigError(f"{tasks[0].sweep}: no run has one of the seeds {', '.join(map(str, seeds))}")
    return chosen
