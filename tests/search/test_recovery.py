"""A run folder that was damaged: what a resume and `nas doctor` find, mend and say."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from dataclasses import asdict, replace

import pytest
import torch

from nas.api.doctor import doctor
from nas.api.searching import reopen
from nas.errors import RunError
from nas.rundir import CHECKPOINT, PREVIOUS, RunDir, lock, write_checkpoint
from nas.search.recovery import take_stock_of_files, take_stock_of_trials
from nas.search.run import _mended, open_studies

from .simulator import TEXT, Simulation


def checkpoint(content: str, digest: str = "", seed: int = 0, epochs: int = 0) -> bytes:
    """As a worker writes it, in what a resume looks at."""
    file = io.BytesIO()
    training = {"seed": seed, "epochs": epochs}
    torch.save({"digest": digest, "state": {"training": training, "content": content}}, file)
    return file.getvalue()


def own_checkpoint(simulation: Simulation, number: int, content: str) -> bytes:
    row = simulation.table.rows[number]
    return checkpoint(content, row["digest"], row["seed"], row["epochs"])


def write_checkpoints(simulation: Simulation) -> bool:
    """As the workers do, at every epoch."""
    for live in simulation.core._live.values():
        for epoch in range(max(1, live.epoch - 1), live.epoch + 1):
            number = live.ask.number
            content = own_checkpoint(simulation, number, str(epoch))
            write_checkpoint(simulation.run.trial(number), content)
    return False


@pytest.fixture
def killed(tmp_path):
    """A search killed in its middle, two trials running, each of them with two checkpoints."""
    simulation = Simulation(tmp_path / "run", "20trials", slots=2)

    def late(s):
        write_checkpoints(s)
        epochs = [live.epoch for live in s.core._live.values()]
        return len(s.trained) >= 7 and len(epochs) == 2 and min(epochs) >= 2

    assert simulation.go(late) is None
    return simulation


@pytest.fixture
def finished(tmp_path):
    simulation = Simulation(tmp_path / "run", "12trials")
    _export(simulation.run, simulation.go())
    return simulation


def _export(run: RunDir, state) -> None:
    """As `export.best` leaves it."""
    entry = next(e for e in state["finalists"] if e["candidate"] != 0)
    found = {key: entry[key] for key in ("validation", "validation_std", "seeds", "epochs")}
    found |= {"trial": entry["candidate"], "test": 0.9, "params": 1, "macs": 1}
    source = entry["weights_from"]
    (run.path / "best.pt").write_bytes(checkpoint("weights"))
    text = json.dumps({"name": "best", "found": {**found, "weights_from_trial": source}})
    (run.path / "best.yaml").write_text(text)
    state["results"] = {"best": {"name": "best", "weights_from": source, **found}}
    run.write_stages(state)


def take_stock(simulation: Simulation, **how) -> list[str]:
    run = simulation.run
    found = list(take_stock_of_files(run, **how))
    found += take_stock_of_trials(run, simulation.space, open_studies(run), **how)
    return [finding.sentence for finding in found]


def test_of_a_search_that_was_only_killed_there_is_nothing_to_say(killed):
    assert take_stock(killed) == []


def test_a_deleted_folder_is_made_again_and_its_trial_trained_again_under_its_number(killed):
    run = killed.run
    lost, kept = sorted(killed.core._live)
    epoch, text = killed.core._live[lost].epoch, killed.table.text(lost)
    shutil.rmtree(run.trial(lost))
    said = take_stock(killed)
    assert any(f"trials/{lost}: the folder was deleted" in line for line in said)
    assert any(f"trial {lost} is trained again from its first epoch" in line for line in said)
    assert (run.trial(lost) / "architecture.yaml").read_text() == text
    assert not (run.trial(lost) / CHECKPOINT).exists()
    again = Simulation(run.path, "20trials", slots=2)
    asks = {again.core.next().number: again.core._live[n] for n in (lost, kept)}
    assert set(asks) == {lost, kept}
    assert again.core._live[lost].ask.known_epoch == epoch, "its earlier reports are known"


def test_of_a_truncated_checkpoint_the_one_before_it_is_used(killed):
    number = min(killed.core._live)
    folder = killed.run.trial(number)
    before = (folder / PREVIOUS).read_bytes()
    (folder / CHECKPOINT).write_bytes((folder / CHECKPOINT).read_bytes()[:40])
    (line,) = take_stock(killed)
    assert f"trials/{number}/{CHECKPOINT}" in line and "truncated" in line
    assert "the one before it is used" in line
    assert (folder / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("other", ["digest", "seed", "epochs", "weights", "list"])
def test_a_checkpoint_of_another_training_is_like_a_truncated_one(killed, other):
    """Copied there by mistake, it is whole, and cannot be gone on from."""
    number = min(killed.core._live)
    folder, row = killed.run.trial(number), killed.table.rows[number]
    before = (folder / PREVIOUS).read_bytes()
    own = {key: row[key] for key in ("digest", "seed", "epochs")}
    if other in own:
        own[other] = "another" if other == "digest" else own[other] + 1
        (folder / CHECKPOINT).write_bytes(checkpoint("theirs", **own))
    else:
        torch.save({"weight": torch.zeros(2)} if other == "weights" else [1], folder / CHECKPOINT)
    (line,) = take_stock(killed)
    assert line.startswith(f"trials/{number}/{CHECKPOINT}: it is ")
    assert line.endswith("; the one before it is used")
    assert ("of another training" in line) == (other in own)
    assert (folder / CHECKPOINT).read_bytes() == before
    (folder / CHECKPOINT).write_bytes(checkpoint("theirs"))
    (line,) = take_stock(killed)
    assert f"trial {number} is trained again from its first epoch" in line
    assert not (folder / CHECKPOINT).exists()


def test_without_any_checkpoint_that_can_be_read_the_trial_begins_again(killed):
    number = min(killed.core._live)
    folder = killed.run.trial(number)
    (folder / CHECKPOINT).write_bytes(b"")
    (folder / PREVIOUS).unlink()
    (line,) = take_stock(killed)
    assert f"trial {number} is trained again from its first epoch" in line
    assert not (folder / CHECKPOINT).exists()


def test_killed_between_two_renames_nothing_is_lost_and_nothing_said(killed):
    number = min(killed.core._live)
    folder = killed.run.trial(number)
    (folder / CHECKPOINT).unlink()
    assert take_stock(killed) == []
    assert (folder / CHECKPOINT).exists()


def test_a_look_changes_nothing(killed):
    run = killed.run
    shutil.rmtree(run.trial(min(killed.core._live)))
    (run.path / ".stages.json-abcd1234.tmp").write_text("{")
    with run.journal.open("ab") as file:
        file.write(b'{"op_co')
    before = _content(run)
    found = doctor(run.path, dry_run=True)
    assert len(found.findings) >= 4 and found.mended
    assert _content(run) == before
    assert found.plain()["state"] == "mendable"
    done = doctor(run.path)
    assert [(f.where, f.what) for f in done.findings] == [(f.where, f.what) for f in found.findings]
    assert doctor(run.path).findings == (), "the second time there is nothing to say"


def test_a_checkpoint_that_was_lost_is_said_once(killed):
    run, number = killed.run, min(killed.core._live)
    (run.trial(number) / "metrics.csv").write_text("epoch,validation\n1,0.5\n2,0.6\n")
    for name in (CHECKPOINT, PREVIOUS):
        (run.trial(number) / name).unlink()
    for dry_run in (True, True, False):
        said = [found.sentence for found in doctor(run.path, dry_run=dry_run).findings]
        assert any(f"trial {number} is trained again from its first epoch" in line for line in said)
    assert doctor(run.path).findings == ()
    again = Simulation(run.path, "20trials", slots=2)
    assert again.go()["ended"] and again.table.rows[number]["cause"] is not None


def _content(run: RunDir) -> dict[str, bytes]:
    files = (file for file in run.path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", ["trials.csv", "stages.json"])
@pytest.mark.parametrize("damage", ["missing", "torn", "other"])
def test_tables_are_rebuilt_from_the_study(finished, name, damage):
    file = finished.run.path / name
    before = file.read_text()
    if damage == "missing":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:50] + b"\xff")
    else:
        file.write_text("[]" if name == "stages.json" else before.replace("finished", "failed"))
    (finding,) = doctor(finished.run.path).findings
    assert finding.where == name and "rebuilt from the study" in finding.sentence
    if name == "trials.csv":
        assert file.read_text() == before
        return
    old, new = json.loads(before), json.loads(file.read_text())
    for key in ("trials", "finalists", "results", "ended", "stopped"):
        assert new[key] == old[key]
    assert [s["name"] for s in new["stages"]] == [s["name"] for s in old["stages"]]
    spent = old["budget"]["spent_device_seconds"]
    assert new["budget"]["spent_device_seconds"] == pytest.approx(spent, abs=0.1)
    assert doctor(finished.run.path).findings == ()


def test_what_damaged_tables_are_told_is_how_to_mend_them(finished):
    (finished.run.path / "stages.json").write_text("{")
    with pytest.raises(RunError, match=f"nas doctor {finished.run.path}"):
        finished.run.stages()


def test_an_ended_trials_files_are_looked_at_too(finished):
    run = finished.run
    (run.trial(3) / "architecture.yaml").write_text("name: [")
    (run.trial(2) / CHECKPOINT).write_bytes(b"PK")
    text = finished.table.text(3)
    where = {finding.where: finding for finding in doctor(run.path).findings}
    assert set(where) == {"trials/3/architecture.yaml", f"trials/2/{CHECKPOINT}"}
    assert finished.table.text(3) != text and finished.table.architecture(3)
    assert doctor(run.path).findings == ()


def test_an_export_whose_weights_are_gone_too_cannot_be_mended(finished):
    (finished.run.path / "best.pt").unlink()
    found = doctor(finished.run.path)
    assert not found.mended
    assert "best.pt is missing, and the checkpoint of trial" in found.findings[0].what


def test_what_cannot_be_mended_is_said(finished):
    run = finished.run
    lines = run.journal.read_bytes().splitlines(keepends=True)
    run.journal.write_bytes(b"".join([*lines[:5], b"garbage\n", *lines[6:]]))
    found = doctor(run.path)
    assert not found.mended and "cannot mend this" in found.findings[-1].sentence
    assert "study.journal:6 is no record of the search ('garbage'" in found.findings[-1].what
    assert found.plain()["state"] == "damaged"


def test_records_that_optuna_takes_and_we_cannot_read_are_no_traceback(finished):
    journal = finished.run.journal
    text = journal.read_text()
    for damage in (
        (r'"plan":{"epochs"', '"plan":{"epoch_s"'),
        (r'"progress":{[^}]*}', '"progress":[1]'),
    ):
        journal.write_text(re.sub(*damage, text))
        found = doctor(finished.run.path)
        assert not found.mended and "run.coarse cannot be read" in found.findings[-1].what


def test_an_empty_journal_beside_a_full_table_is_said_and_what_is_known_is_left(finished):
    finished.run.journal.write_bytes(b"")
    table = (finished.run.path / "trials.csv").read_bytes()
    for _ in range(2):
        found = doctor(finished.run.path)
        assert not found.mended
        assert "it holds no trial, and trials.csv lists" in found.findings[0].sentence
    assert (finished.run.path / "trials.csv").read_bytes() == table
    (finished.run.path / "trials.csv").write_bytes(b"trial\0,stage\n1,x\n")
    found = doctor(finished.run.path)
    assert not found.mended and "and trials.csv cannot be read" in found.findings[0].sentence


def test_ends_that_the_journal_lost_are_told_and_the_table_of_them_kept(finished):
    run, heard = finished.run, []
    shutil.copytree(run.path, copy := run.path.parent / "copy")
    table, lines = (run.path / "trials.csv").read_bytes(), run.journal.read_bytes().splitlines(True)
    for journal in (run.journal, copy / "study.journal"):
        journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    _mended(RunDir(copy), finished.space, heard.append)
    assert any("it has lost how" in told for told in heard), "a resume says it too"
    assert (copy / "trials.lost.csv").read_bytes() == table
    (lost,) = [found for found in doctor(run.path, dry_run=True).findings if "lost" in found.what]
    assert not (run.path / "trials.lost.csv").exists()
    assert (
        "study.journal: it has lost how" in lost.sentence and "trials.csv lists (" in lost.sentence
    )
    assert lost in doctor(run.path).findings
    assert (run.path / "trials.lost.csv").read_bytes() == table
    assert doctor(run.path).findings == ()
    state = Simulation(run.path, "12trials").go()
    assert state["ended"] and state["trials"]["total"] >= 12


def test_a_number_that_is_used_again_has_nothing_of_the_trial_that_had_it(finished):
    run = finished.run
    for number in finished.table.rows:
        write_checkpoint(run.trial(number), checkpoint(f"of trial {number} before"))
    lines = run.journal.read_bytes().splitlines(True)
    run.journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    known = {r.number for n in open_studies(run).names() for r in open_studies(run).records(n)}
    Simulation(run.path, "14trials").go()
    for number in finished.table.rows.keys() - known:
        assert not (run.trial(number) / CHECKPOINT).exists()
        assert (run.path / "trials.lost" / str(number) / CHECKPOINT).exists()


def test_a_lost_space_is_written_again_from_what_it_was_made_of(finished, tmp_path):
    run, source = finished.run, tmp_path / "source.yaml"
    whole = (run.path / "space.yaml").read_bytes()
    source.write_bytes(whole)
    run.write_request(replace(run.request, space=str(source)))
    (run.path / "space.yaml").unlink()
    with pytest.raises(RunError, match=r"has lost its space.yaml: .*: nas doctor "):
        RunDir.open(run.path)
    for dry_run in (True, False):
        (finding,) = doctor(run.path, dry_run=dry_run).findings
        assert "space.yaml: it is missing; written again" in finding.sentence
    assert (run.path / "space.yaml").read_bytes() == whole
    assert doctor(run.path).findings == ()
    (run.path / "space.yaml").unlink()
    source.write_bytes(whole.replace(b"[8, 16, 32]", b"[8, 16]"))
    (finding,) = doctor(run.path).findings
    assert finding.done is None and "is not what it was made of any more" in finding.what


@pytest.mark.parametrize("name", ["request.yaml", "study.journal"])
def test_what_stands_nowhere_else_is_asked_for(finished, name):
    (finished.run.path / name).unlink()
    with pytest.raises(RunError, match=rf"has lost its {name}: .*put it back from a copy"):
        RunDir.open(finished.run.path)
    if name == "study.journal":
        found = doctor(finished.run.path)
        assert not found.mended and "study.journal is missing: its trials" in found.findings[0].what
        assert not finished.run.journal.exists()


@pytest.mark.parametrize("name", ["environment.json", "log.txt", "stages.json", "trials.csv"])
def test_without_what_follows_from_the_rest_a_run_is_a_run(finished, name):
    (finished.run.path / name).unlink()
    RunDir.open(finished.run.path)
    found = doctor(finished.run.path)
    assert found.mended and [f.where for f in found.findings] == [name] * (name != "log.txt")
    assert (finished.run.path / name).exists() or name == "log.txt"  # its next line makes it
    assert doctor(finished.run.path).findings == ()


def test_of_a_lost_plugin_it_is_said_where_it_may_be_had_again(finished, tmp_path):
    run, source = finished.run, tmp_path / "own cells.py"
    run.write_request(replace(run.request, plugins=[str(source)]))
    said = f"{run.path} has lost its plugins/own cells.py: put back what was there when the run"
    source.write_text("# its text\n")
    for again in (lambda: reopen(run.path, "20trials", {}), lambda: run.plugins):
        with pytest.raises(RunError, match=r"has lost its plugins/own cells\.py") as refused:
            again()
        assert str(refused.value).startswith(said)
    (finding,) = doctor(run.path).findings
    assert finding.what == str(refused.value) and finding.done is None
    subprocess.run(["sh", "-c", finding.what.partition("changed since: ")[2]], check=True)
    assert doctor(run.path).findings == () and run.plugins[0].read_text() == "# its text\n"
    shutil.rmtree(run.path / "plugins")
    source.unlink()
    assert doctor(run.path).findings[0].what.endswith("when the run began, from a copy")


def test_an_edited_space_is_not_mended(finished):
    (finished.run.path / "space.yaml").write_text(TEXT.replace("[8, 16, 32]", "[8, 16]"))
    found = doctor(finished.run.path)
    assert not found.mended and "was edited" in found.findings[0].what


def test_a_run_in_use_and_a_folder_that_is_none_are_refused(finished, tmp_path):
    with finished.run.lock():
        for dry_run in (False, True):
            with pytest.raises(RunError, match="in use by another process"):
                doctor(finished.run.path, dry_run=dry_run)
    (tmp_path / "none").mkdir()
    with pytest.raises(RunError, match="is no run"):
        doctor(tmp_path / "none")


def test_a_run_that_is_well_is_left_as_it_is(finished):
    before = _content(finished.run)
    assert doctor(finished.run.path).findings == ()
    assert _content(finished.run) == before


@pytest.mark.parametrize("tail", [b"\0" * 40, b"4,0.1,0.2"], ids=["NULs", "torn"])
def test_a_curve_with_a_broken_tail_keeps_its_rows(finished, tail):
    file = finished.run.trial(3) / "metrics.csv"
    whole = b"epoch,train_loss,validation\n1,0.5,0.6\n2,0.4,0.7\n"
    file.write_bytes(whole + tail)
    for dry_run in (True, False):
        (finding,) = doctor(finished.run.path, dry_run=dry_run).findings
        assert finding.where == "trials/3/metrics.csv"
        assert f"{len(tail)} bytes" in finding.what and "2 epochs of it are left" in finding.done
    assert file.read_bytes() == whole
    assert doctor(finished.run.path).findings == ()


def test_a_look_tells_all_that_the_mending_would(finished):
    (finished.run.path / "stages.json").unlink()
    (finished.run.path / "best.pt").write_bytes(b"PK")
    source = _source(finished)
    content = own_checkpoint(finished, source, "weights")
    (finished.run.trial(source) / CHECKPOINT).write_bytes(content)
    found = doctor(finished.run.path, dry_run=True)
    assert [f.where for f in found.findings] == ["stages.json", "best.yaml, best.pt"]
    assert "best.pt is truncated" in found.findings[-1].what
    assert not (finished.run.path / "stages.json").exists()


def _source(finished) -> int:
    return json.loads((finished.run.path / "best.yaml").read_text())["found"]["weights_from_trial"]


@pytest.mark.parametrize("lost", [True, False])
def test_a_run_whose_last_end_was_torn_off_has_not_ended(finished, lost):
    run, before = finished.run, finished.run.stages()["trials"]["total"]
    last = max(finished.table.rows)
    _tear(run, last)
    (run.trial(last) / CHECKPOINT).write_bytes(checkpoint("weights"))
    if lost:
        (run.path / "stages.json").unlink()
    assert "stages.json" in {finding.where for finding in doctor(run.path).findings}
    state = run.stages()
    assert not state.get("ended") and state["stopped"] == "interrupted"
    assert doctor(run.path).findings == ()
    resumed = Simulation(run.path, "12trials")
    state = resumed.go()
    assert state["ended"] and state["trials"]["total"] == before
    assert resumed.table.rows[last]["cause"] == "finished"


def _tear(run: RunDir, trial: int) -> None:
    """The journal, torn within the record that told the end of that trial."""
    content = run.journal.read_bytes()
    for end in range(len(content) - 1, 0, -1):
        if content[end - 1 : end] == b"\n":
            run.journal.write_bytes(content[: end + 5])
            records = [r for n in open_studies(run).names() for r in open_studies(run).records(n)]
            if any(r.number == trial and r.running for r in records):
                return


def test_what_is_wrong_with_the_run_itself_begins_with_words(finished):
    (finished.run.path / "space.yaml").write_text(TEXT.replace("[8, 16, 32]", "[8, 16]"))
    (finding,) = doctor(finished.run.path).findings
    assert finding.sentence.startswith(str(finished.run.path))


def test_the_lock_of_a_dead_host_is_waited_for_aloud_and_told(finished, monkeypatch):
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.2)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    other = replace(lock.ourselves(), pid=4711, host="farhost", boot="another")
    text = f"{other}\n{json.dumps(asdict(other))}\n"
    (finished.run.path / lock.NAME).write_bytes(text.encode().ljust(lock.WIDTH))
    heard: list[str] = []
    (finding,) = doctor(finished.run.path, say=heard.append).findings
    (waiting,) = heard
    assert "pid 4711 on farhost" in waiting and "waiting" in waiting
    assert finding.where == lock.NAME and "pid 4711 on farhost is taken over" in finding.what
