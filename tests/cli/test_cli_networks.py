"""Commands on files: describe, spaces, train; and a search that is only looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nas as toolkit
from nas.search import pilot


@pytest.fixture
def architecture(tmp_path) -> Path:
    space = toolkit.load("tiny")
    file = tmp_path / "small.yaml"
    file.write_text(toolkit.fill(space, space.default()).text.replace("epochs: 12", "epochs: 2"))
    return file


def measured(networks, *_, **__):
    paces = (pilot.Pace(0.1 * number, 0.1, True) for number in range(1, len(networks) + 1))
    return pilot.Pilot(tuple(paces), 3.0)


def test_describe_a_space_by_its_default(nas):
    found = nas("describe", "tiny", "--json").json
    assert set(found) >= {
        "name", "input", "params", "macs", "activations", "memory_bytes", "receptive_field",
        "weight_layers", "rows", "share",
    }  # fmt: skip
    assert set(found["rows"][0]) >= {
        "name", "op", "shape", "params", "macs", "activations", "receptive_field", "jump",
    }  # fmt: skip
    assert set(found["memory_bytes"]) == {"parameters", "forward", "training", "batch"}
    assert found["weight_layers"] == 3 and set(found["share"]) == {"conv3x3", "linear"}
    assert found["params"] == sum(row["params"] for row in found["rows"])
    assert len(found["rows"][0]["shape"]) == 3
    assert found["holes"][0]["name"] == "network.conv1.channels"
    told = nas("describe", "tiny")
    assert "network.conv1.channels" in told.out and "total" in told.out


def test_describe_at_another_size(nas):
    found = nas("describe", "tiny", "--size", "32", "--channels", "3", "--classes", "7", "--json")
    assert found.json["input"] == {"size": [32, 32], "channels": 3, "classes": 7}
    assert found.json["rows"][-1]["shape"][0] == 7


def test_describe_an_image_that_is_no_square(nas):
    found = nas("describe", "tiny", "--size", "32x16", "--json").json
    assert found["input"]["size"] == [32, 16] and found["rows"][0]["shape"] == [16, 32, 16]
    for wrong in ("32x", "x", "3.5", "0x4", "-1", "²"):
        told = nas("describe", "tiny", f"--size={wrong}")
        assert told.code == 2 and f"--size {wrong} must be" in told.err and "224x160" in told.err


def test_describe_memory(nas):
    found = nas("describe", "tiny", "--batch", "32", "--json").json
    memory = found["memory_bytes"]
    assert found["batch"] == 32
    assert memory["parameters"] == 4 * found["params"]
    assert memory["forward"] == 4 * 64 + sum(row["forward_bytes"] for row in found["rows"])
    assert memory["training"] >= 3 * memory["parameters"] + memory["forward"]
    one = nas("describe", "tiny", "--batch", "1", "--json").json["memory_bytes"]
    assert one["batch"] == one["training"] == memory["training"] < memory["batch"]
    assert nas("describe", "tiny", "--json").json["batch"] == 64, "the recipe's batch size"


def test_describe_layer_by_layer(nas):
    rows = nas("describe", "resnet_cells", "--json").json
    layers = nas("describe", "resnet_cells", "--expand", "--json").json
    assert len(layers["rows"]) > 40 > len(rows["rows"])
    for key in ("params", "macs", "activations"):
        assert layers[key] == rows[key] == sum(line[key] for line in layers["rows"])
    told = nas("describe", "resnet_cells", "--expand")
    assert "stage2.0.shortcut" in told.out and "20 weight layers" in told.out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", ["describe", "spaces"])
def test_tables_keep_within_the_terminal(words, columns, nas, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    told = nas(words, "resnet_cells")
    assert told.code == 0, told.err
    assert max(map(len, told.out.splitlines())) <= columns
    assert "…" not in told.out, "no figure is cut"


def test_describe_too_small_an_image(nas):
    told = nas("describe", "tiny", "--size", "1")
    assert told.code == 2 and "tiny.yaml:" in told.err


def test_describe_with_a_constant(nas):
    wide = nas("describe", "tiny", "--set", "network.conv1.channels=32", "--json").json
    assert wide["params"] > nas("describe", "tiny", "--json").json["params"]


def test_spaces(nas):
    found = nas("spaces", "--json").json
    tiny = next(space for space in found["spaces"] if space["name"] == "tiny")
    assert tiny["architectures"] == 18 and tiny["params"][0] < tiny["params"][1]
    told = nas("spaces")
    assert "resnet_cells" in told.out and "tiny" in told.out
    assert "90 % of 200 draws" in told.out and "of 2,000" in told.out


def test_the_list_and_the_look_into_one_space_agree(nas):
    listed = {space["name"]: space for space in nas("spaces", "--json").json["spaces"]}
    for name in ("nb201", "tiny"):
        found = nas("spaces", name, "--json").json["distribution"]["params"]["quantiles"]
        inside = {point["share"]: point["value"] for point in found}
        # of 200 draws and of 2,000
        assert listed[name]["params"] == pytest.approx([inside[0.05], inside[0.95]], rel=0.25)


def test_spaces_looks_into_one(nas):
    found = nas("spaces", "tiny", "--json").json
    assert found["architectures"] == 18 and found["draws"] == 2000
    assert found["builds"] == found["within_limits"] == 1
    assert [hole["name"] for hole in found["holes"]][:2] == [
        "network.conv1.channels", "network.pool1.op",
    ]  # fmt: skip
    space = toolkit.load("tiny")
    for end in ("smallest", "largest", "default"):
        network = toolkit.fill(space, found[end]["decisions"])
        model = toolkit.build(network, classes=10, channels=1, size=8)
        assert found[end]["params"] == sum(p.numel() for p in model.parameters())
    ranked = [point["value"] for point in found["distribution"]["params"]["quantiles"]]
    assert ranked == sorted(ranked)
    assert (ranked[0], ranked[-1]) == (found["smallest"]["params"], found["largest"]["params"])
    assert sum(found["distribution"]["macs"]["histogram"]) == 2000
    assert nas("spaces", "tiny", "--json", "--seed", "0").json == found, "seeded"
    told = nas("spaces", "tiny")
    for needed in ("network.conv2.repeat", "18 architectures", "median", "100 % of 2,000 draws"):
        assert needed in told.out


def test_spaces_says_at_which_size_scaled_networks_are_priced(nas):
    found = nas("spaces", "efficientnet", "--json").json
    assert found["input"]["size"] == [32, 32], "the images, before gamma"
    assert found["default"]["resolution"] == [37, 37]
    for end in ("smallest", "largest"):
        chosen = found[end]["decisions"]
        side = round(32 * chosen["scaling.gamma"] ** chosen["scaling.phi"])
        assert found[end]["resolution"] == [side, side]
    given = nas("spaces", "efficientnet", "--size", "32", "--json").json
    assert given["default"]["resolution"] == [37, 37] and given["input"] == found["input"]
    told = nas("spaces", "efficientnet").out
    assert "images   32x32x3, 10 classes; the scaling makes 37x37 of them" in told
    assert "resolution" not in nas("spaces", "tiny").out


def test_spaces_for_other_images(nas):
    found = nas("spaces", "tiny", "--size", "3", "--channels", "3", "--classes", "7", "--json").json
    assert found["input"] == {"size": [3, 3], "channels": 3, "classes": 7}
    assert found["builds"] == 0 and found["smallest"] is None
    assert "at least 4x4 fits" in found["misfits"][0]["message"]
    told = nas("spaces", "tiny", "--size", "3")
    assert told.code == 0 and "0 % of 2,000 draws" in told.out


def test_spaces_of_a_file_without_holes(nas, architecture):
    told = nas("spaces", architecture)
    assert told.code == 2 and "nas describe" in told.err
    told = nas("spaces", "--check", architecture)
    assert told.code == 0 and "nothing is wrong" in told.out
    for words in (("--check",), ("--size", "32"), ("--set", "recipe.epochs=3")):
        told = nas("spaces", *words)
        assert told.code == 2 and "name it" in told.err


def test_train_then_the_same_again(nas, architecture, tmp_path):
    words = ("train", architecture, "--data", "digits", "--out", tmp_path / "out")
    told = nas(*words, "--json")
    assert told.code == 0, told.err
    found = told.json
    assert found["epochs"] == 2 and 0 < found["test"] <= 1
    assert "epoch   2" in told.err
    weights = Path(found["weights"])
    state = torch.load(weights, weights_only=True)
    again = nas(*words, "--json")
    assert again.json == found and "epoch   2" not in again.err, "nothing is trained twice"
    tested = nas("test", found["architecture"], "--data", "digits", "--json").json
    assert tested["accuracy"] == pytest.approx(found["test"])
    assert set(state) == set(torch.load(weights, weights_only=True))


def test_train_goes_on_from_its_checkpoint(architecture, tmp_path):
    seen: list[int] = []

    class Stop(Exception):
        pass

    def view(report):
        seen.append(report["epoch"])
        if seen == [1]:
            raise Stop

    whole = toolkit.train(architecture, data="digits", out=tmp_path / "whole")
    with pytest.raises(Stop):
        toolkit.train(architecture, data="digits", out=tmp_path / "halves", view=view)
    halves = toolkit.train(architecture, data="digits", out=tmp_path / "halves", view=view)
    assert seen == [1, 1, 2], "the epoch that was trained is told again, not trained again"
    assert (halves.test, halves.validation) == (whole.test, whole.validation)


def test_train_something_else_in_the_same_folder(nas, architecture, tmp_path):
    out = tmp_path / "out"
    words = ("train", architecture, "--data", "digits", "--out", out, "-q")
    assert nas(*words).code == 0
    told = nas(*words, "--epochs", "3")
    assert told.code == 2 and "another value of epochs" in told.err and "--out" in told.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    told = nas(*words[:-2], tmp_path / "full")
    assert told.code == 2 and "empty folder" in told.err


def test_a_training_that_breaks_down_exits_1(nas, architecture, tmp_path):
    architecture.write_text(architecture.read_text().replace("lr: 0.1", "lr: 10000.0"))
    told = nas("train", architecture, "--data", "digits", "--out", tmp_path / "out")
    assert told.code == 1 and "recipe.lr" in told.err and "Traceback" not in told.err


FORECAST = ("--space", "tiny", "--data", "digits", "--budget", "12trials")


@pytest.mark.parametrize("command", [("plan",), ("search", "--dry-run")])
def test_a_forecast_writes_nothing(nas, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pilot, "measure", measured)
    told = nas(*command, *FORECAST)
    assert told.code == 0, told.err
    for needed in (
        "18 architectures", "params 500k", "1,293 train", "about 12 trials", "nothing was written",
    ):  # fmt: skip
        assert needed in " ".join(told.out.split())
    assert not list(tmp_path.iterdir())


def test_a_forecast_in_json(nas, monkeypatch):
    monkeypatch.setattr(pilot, "measure", measured)
    found = nas("plan", *FORECAST, "--json").json
    assert found["default"]["params"] == 5178 and found["trials"] == 12
    assert sum(row["trials"] for row in found["stages"]) == 12


def test_functions_win_over_packages_of_the_same_name():
    import nas.search.run
    import nas.train.loop

    assert callable(toolkit.search) and callable(toolkit.train)
    assert nas.search is toolkit.search
    from nas.search.run import search

    assert search is not toolkit.search


def test_every_public_name_is_there():
    for name in toolkit.__all__:
        assert getattr(toolkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = toolkit.serch


def test_nothing_survived_is_an_error_in_python(tmp_path, monkeypatch):
    from nas.api import searching
    from nas.search import table

    def died(run, prepared, **_):
        state = table.Table(run, None).counts()
        run.write_stages(
            {"stopped": "budget", "ended": True, "finalists": [], "notes": ["nothing survived"],
             "trials": state, "budget": {"asked": "1min"}, "stages": []}
        )  # fmt: skip
        return run.stages()

    monkeypatch.setattr(searching.driver, "search", died)
    with pytest.raises(toolkit.SearchFailed, match="nothing survived"):
        toolkit.search("tiny", data="digits", budget="1min", run_dir=tmp_path / "run")


def test_an_export_has_its_scaling_carried_out(nas, architecture, tmp_path):
    scaling = "scaling: {phi: 1, alpha: 1.2, beta: 1.3, gamma: 1.25}\n"
    architecture.write_text(architecture.read_text() + scaling)
    told = nas("train", architecture, "--data", "digits", "--epochs", "1", "--out", tmp_path / "t")
    assert told.code == 0, told.err
    exported = toolkit.load(tmp_path / "t" / "model.yaml")
    assert exported.scaling == {} and exported.network[0] == {
        "name": "resize", "op": "resize", "size": [10, 10],
    }  # fmt: skip
    # the file and its weights are enough, for images of the data's own size
    tested = nas("test", tmp_path / "t" / "model.yaml", "--data", "digits", "--json")
    assert tested.code == 0, tested.err
    assert tested.json["accuracy"] == pytest.approx(
        toolkit.train(architecture, data="digits", epochs=1, out=tmp_path / "t").test
    )


def test_describe_under_compound_scaling(nas, tmp_path):
    file = tmp_path / "scaled.yaml"
    file.write_text(
        "input: {size: 20, channels: 3, classes: 10}\n"
        "network: [{op: conv, channels: 8}, {op: global_pool}, {op: linear}]\n"
        "scaling: {phi: 1, alpha: 1, beta: 1, gamma: 1.2}\n"
    )
    own = nas("describe", file, "--json").json
    assert own["input"]["size"] == [24, 24], "the file's own images, scaled once"
    assert own["rows"][0]["shape"] == [8, 24, 24]
    given = nas("describe", file, "--size", "30", "--json").json
    assert given["input"]["size"] == [30, 30], "given ones, which a row in front resamples"
    assert [row["shape"] for row in given["rows"][:2]] == [[3, 36, 36], [8, 36, 36]]


def test_train_with_a_constant(nas, architecture, tmp_path):
    words = ("train", architecture, "--data", "digits", "--out", tmp_path / "one", "--json")
    told = nas(*words, "--set", "recipe.epochs=1")
    assert told.code == 0, told.err
    assert told.json["epochs"] == 1
    assert toolkit.load(tmp_path / "one" / "model.yaml").recipe["epochs"] == 1
