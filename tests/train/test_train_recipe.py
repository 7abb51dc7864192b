"""The recipe: defaults, bounds, and what is said about a wrong key or value."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields

import pytest

from nas.errors import UnknownName, UserError
from nas.registry import RECIPE
from nas.train.recipe import SETTINGS, Recipe


def test_every_key_has_a_setting_a_field_and_an_allowed_default() -> None:
    assert tuple(field.name for field in fields(Recipe)) == tuple(SETTINGS) == RECIPE.names()
    for key, setting in SETTINGS.items():
        assert setting.fault(setting.default) is None, key
        assert setting.about, key
    assert asdict(Recipe.from_mapping({})) == {key: s.default for key, s in SETTINGS.items()}


def test_the_documented_defaults() -> None:
    recipe = Recipe()
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.nesterov) == (
        "sgd",
        0.1,
        0.9,
        True,
    )
    assert (recipe.weight_decay, recipe.batch_size, recipe.epochs) == (5e-4, 128, 30)
    assert (recipe.schedule, recipe.augment) == ("cosine", "none")


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    recipe = Recipe.from_mapping({"lr": 1, "clip_norm": 5, "epochs": 3})
    assert isinstance(recipe.lr, float)
    assert isinstance(recipe.clip_norm, float)
    assert isinstance(recipe.epochs, int)


def test_a_learning_rate_that_explodes_is_legal() -> None:
    assert Recipe.from_mapping({"lr": 1e4}).lr == 1e4


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"learning_rate": 0.1}, ["unknown recipe key 'learning_rate'"]),
        ({"weight_decy": 0.1}, ["did you mean 'weight_decay'"]),
        ({"optimizer": "adam"}, ["recipe.optimizer", "'adam'", "sgd, adamw", "'adamw'"]),
        ({"lr": 0}, ["recipe.lr", "0", "above 0"]),
        ({"lr": float("inf")}, ["recipe.lr", "at most 1e+06"]),
        ({"lr": float("nan")}, ["recipe.lr", "nan"]),
        ({"lr": "fast"}, ["recipe.lr", "'fast'", "a number above 0"]),
        ({"momentum": 1.0}, ["recipe.momentum", "at most 0.999"]),
        ({"nesterov": 1}, ["recipe.nesterov", "true or false"]),
        ({"batch_size": 1}, ["recipe.batch_size", "at least 2"]),
        ({"batch_size": 32.0}, ["recipe.batch_size", "a whole number"]),
        ({"epochs": 0}, ["recipe.epochs", "at least 1"]),
        ({"epochs": True}, ["recipe.epochs", "True"]),
        ({"schedule": "cosin"}, ["recipe.schedule", "did you mean 'cosine'"]),
        ({"augment": None}, ["recipe.augment", "none, flip_crop"]),
        ({"dropout": 1}, ["recipe.dropout", "at most 0.95"]),
        ({"smoothing": 1}, ["recipe.smoothing", "at most 0.99"]),
        ({"patience": -1}, ["recipe.patience", "at least 0"]),
    ],
)
def test_a_fault_names_the_key_the_value_and_what_is_allowed(
    mapping: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        Recipe.from_mapping(mapping, "space.yaml:7")
    message = str(caught.value)
    assert message.startswith("space.yaml:7: ")
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


def test_an_unknown_key_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        Recipe.from_mapping({"lrr": 0.1})


@pytest.mark.parametrize("module", ["recipe", "epoch", "guard", "stopping", "schedules"])
def test_what_every_command_reads_imports_no_torch(module: str) -> None:
    code = f"import sys, nas.train.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
