"""Whatever interrupts `synth`, and however many share its work: no finished line is lost, the bytes are the same."""

from __future__ import annotations

import importlib.util
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slmtk import audio
from slmtk.errors import ConfigError, FormatError
from slmtk.models.sampling import Sampling
from slmtk.progress import SilentProgress
from slmtk.shards import open_codes, verify
from slmtk.stages.synth import SynthConfig, SynthReport, synth
from slmtk.stages.synth import work as synth_work
from slmtk.stages.synth.job import LineSpeaker
from tests.helpers.tone_corpus import Notebook
from tests.helpers.untrained import save_untrained

HAS_RAY = importlib.util.find_spec("ray") is not None
BABBLE = Sampling(temperature=1.0, min_seconds=0.1, max_seconds=0.2, loop_seconds=0, seed=1)
TEXTS = ["One.", "Two, and more.", "Three.", "Four.", "Five."]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def config(model, tmp_path_factory) -> SynthConfig:
    folder = tmp_path_factory.mktemp("voices")
    for name, level in (("anna", 0.3), ("ben", 0.6)):
        audio.write(folder / f"{name}.wav", level * torch.sin(torch.arange(16_000) * 0.2), 16_000)
    return SynthConfig(model, (folder / "anna.wav", folder / "ben.wav"), BABBLE, device="cpu", batch_size=2)


def write_texts(folder: Path, texts: list[str] = TEXTS) -> Path:
    rows = [json.dumps({"id": f"l{n}", "text": text}) + "\n" for n, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(rows))
    return folder / "texts.jsonl"


def run(source: Path, out: Path, config: SynthConfig, **changes: object) -> SynthReport:
    return synth(source, out, replace(config, **changes), SilentProgress())


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the two that tell times."""
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("timings.jsonl", "report.json")}


@pytest.fixture
def whole(config, tmp_path) -> dict[str, bytes]:
    """What an undisturbed run writes."""
    run(write_texts(tmp_path), tmp_path / "whole", config)
    return contents(tmp_path / "whole")


@pytest.fixture
def spoken(monkeypatch) -> list[str]:
    """Ids of the lines that are spoken, in this process."""
    ids: list[str] = []
    each = LineSpeaker.each

    def noting(self, jobs):
        for line in each(self, jobs):
            ids.append(line.id)
            yield line

    monkeypatch.setattr(LineSpeaker, "each", noting)
    return ids


def test_an_interrupted_run_speaks_only_what_is_missing(config, tmp_path, whole, spoken, monkeypatch):
    source, out = write_texts(tmp_path), tmp_path / "out"
    each = LineSpeaker.each

    def interrupted(self, jobs):
        for count, line in enumerate(each(self, jobs)):
            if count == 3:
                raise KeyboardInterrupt
            yield line

    with monkeypatch.context() as patch:
        patch.setattr(LineSpeaker, "each", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(source, out, config)
    assert not (out / "slmtk.json").exists()
    spoken.clear()
    report = run(source, out, config)
    assert (report.reused, len(spoken), report.finished) == (3, 2, True)
    assert contents(out) == whole
    assert verify(out) == []
    before = (out / "report.json").read_bytes()
    again = run(source, out, config)
    assert (again.reused, again.rtf, again.seconds_audio, len(spoken)) == (5, None, report.seconds_audio, 2)
    assert (out / "report.json").read_bytes() == before


def test_shards_in_any_order_make_the_same_bytes(config, tmp_path, whole):
    source, out = write_texts(tmp_path), tmp_path / "out"
    notebook = Notebook()
    last = synth(source, out, replace(config, shard_id=1, num_shards=2), notebook)
    assert (last.utterances, last.finished) == (2, False)
    assert "3 of 5 lines are other shards' and not there yet" in notebook.lines[-1]
    first = run(source, out, config, shard_id=0, num_shards=2)
    assert (first.utterances, first.finished) == (3, True)
    assert contents(out) == whole
    assert json.loads((out / "report.json").read_text())["utterances"] == 5


def test_a_shard_that_comes_too_late_to_put_together_finds_it_done(config, tmp_path, whole, monkeypatch):
    source, out = write_texts(tmp_path), tmp_path / "out"
    run(source, out, config, shard_id=0, num_shards=2)
    from slmtk.stages.synth import folder as synth_folder

    assemble = synth_folder.SpeechFolder._assemble

    def overtaken(self, source_name):
        """Another shard puts everything together and tidies up while this one has just begun to."""
        monkeypatch.setattr(synth_folder.SpeechFolder, "_assemble", assemble)
        run(source, out, config)
        assemble(self, source_name)

    monkeypatch.setattr(synth_folder.SpeechFolder, "_assemble", overtaken)
    report = run(source, out, config, shard_id=1, num_shards=2)
    assert (report.utterances, report.finished) == (2, True)
    assert contents(out) == whole


def test_a_shard_whose_lines_another_has_put_together_knows_that_all_is_done(config, tmp_path, whole, monkeypatch):
    from slmtk.stages.synth import folder as synth_folder

    source, out = write_texts(tmp_path), tmp_path / "out"
    put_together = synth_folder.SpeechFolder.put_together

    def later(self, source_name):
        monkeypatch.setattr(synth_folder.SpeechFolder, "put_together", put_together)
        assert run(source, out, config, shard_id=1, num_shards=2).finished
        return put_together(self, source_name)

    monkeypatch.setattr(synth_folder.SpeechFolder, "put_together", later)
    report = run(source, out, config, shard_id=0, num_shards=2)
    assert (report.utterances, report.finished) == (3, True)
    assert contents(out) == whole


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_makes_no_difference(config, tmp_path, whole, batch_size):
    run(write_texts(tmp_path), tmp_path / "out", config, batch_size=batch_size)
    assert contents(tmp_path / "out") == whole


def test_workers_make_no_difference(config, tmp_path, whole):
    report = run(write_texts(tmp_path), tmp_path / "out", config, workers=2)
    assert report.finished
    assert contents(tmp_path / "out") == whole


@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'slmtk[ray]'")
@pytest.mark.slow
def test_a_ray_cluster_makes_no_difference(config, tmp_path, whole):
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        run(write_texts(tmp_path), tmp_path / "out", config, engine="ray")
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert contents(tmp_path / "out") == whole


def test_lines_may_be_added_and_moved_and_the_old_ones_are_not_spoken_again(config, tmp_path, spoken):
    voice = replace(config, speakers=config.speakers[:1])  # or the lines would change voices
    out = tmp_path / "out"
    run(write_texts(tmp_path, TEXTS[:2]), out, voice)
    first = contents(out)
    spoken.clear()
    rows = [{"id": "new", "text": "New."}, {"id": "l1", "text": TEXTS[1]}, {"id": "l0", "text": TEXTS[0]}]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = run(tmp_path / "texts.jsonl", out, voice)
    assert (report.reused, spoken, report.finished) == (2, ["new"], True)
    assert [row.id for row in open_codes(out).rows()] == ["new", "l1", "l0"]
    assert verify(out) == []
    assert {name: contents(out)[name] for name in ("wav/l0.wav", "wav/l1.wav")} == {
        name: first[name] for name in ("wav/l0.wav", "wav/l1.wav")
    }
    timed = [json.loads(line) for line in (out / "timings.jsonl").read_text().splitlines()]
    assert [time["id"] for time in timed] == ["new", "l1", "l0"]


def test_what_somebody_has_spoken_is_not_deleted_by_accident(config, model, tmp_path):
    source, out = write_texts(tmp_path), tmp_path / "out"
    run(source, out, config)
    before = contents(out)
    other = save_untrained(tmp_path / "other", seed=1)
    for changes, message in [
        ({"sampling": replace(BABBLE, seed=2)}, "other settings: seed was 1, is 2; name another OUT, or --overwrite"),
        ({"model": other}, "other settings: model_digest was"),
        ({"speakers": config.speakers[:1]}, "holds 'l1', with another text or voice"),
    ]:
        with pytest.raises(ConfigError, match=message):
            run(source, out, config, **changes)
    with pytest.raises(ConfigError, match="holds 'l4', which is not among these texts"):
        run(write_texts(tmp_path, TEXTS[:4]), out, config)
    assert contents(out) == before
    run(tmp_path / "texts.jsonl", out, config, overwrite=True)
    assert sorted(path.name for path in (out / "wav").iterdir()) == ["l0.wav", "l1.wav", "l2.wav", "l3.wav"]


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "old" / "wav").mkdir(parents=True)
    (tmp_path / "old" / "synth.jsonl").touch()
    with pytest.raises(ConfigError, match="cannot go on with"):
        run(write_texts(tmp_path), tmp_path / "old", config)
    (tmp_path / "file").touch()
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "report.json").write_text("mine")
    with pytest.raises(FormatError, match=r"is not empty and holds no synth\.jsonl"):
        run(write_texts(tmp_path), tmp_path / "scores", config, overwrite=True)
    assert (tmp_path / "scores" / "report.json").read_text() == "mine"
    with pytest.raises(ConfigError, match="is a file"):
        run(write_texts(tmp_path), tmp_path / "file", config)


def test_a_damaged_line_is_named(config, tmp_path):
    source, out = write_texts(tmp_path), tmp_path / "out"
    run(source, out, config, shard_id=0, num_shards=2)
    (damaged,) = (out / ".lines").glob("l2@*")
    damaged.write_bytes(b"half")
    with pytest.raises(FormatError, match=r"l2@\w+\.safetensors is damaged .*; delete it and run the same command"):
        run(source, out, config)


def test_a_voice_that_is_not_there_is_found_before_anything_is_spoken(config, tmp_path, spoken):
    rows = [{"id": "a", "text": "Hi."}, {"id": "b", "text": "Hi.", "reference": "gone.wav"}]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(Exception, match=r"gone\.wav is not there; expected a recording"):
        run(tmp_path / "texts.jsonl", tmp_path / "out", config)
    (tmp_path / "texts.jsonl").write_text(json.dumps({"id": "a", "text": "Hi.", "speaker": "Anna"}))
    with pytest.raises(ConfigError, match=r"needs a voice for 'a' \('Anna' in its 'speaker' column is no recording\)"):
        run(tmp_path / "texts.jsonl", tmp_path / "out", config, speakers=())
    assert spoken == []
    assert not (tmp_path / "out").exists()


def test_chunks_give_every_hand_something_to_do():
    jobs = list(range(10))
    assert [len(chunk) for chunk in synth_work.chunks(jobs, 8, 2)] == [3, 3, 3, 1]
    assert [len(chunk) for chunk in synth_work.chunks(jobs, 8, None)] == [10]
    assert [len(chunk) for chunk in synth_work.chunks(list(range(40)), 1, 2)] == [10] * 4
    assert [len(chunk) for chunk in synth_work.chunks(list(range(40)), 1, 1)] == [16, 16, 8]


def test_every_line_of_these_tests_says_something_of_its_own(config, tmp_path):
    report = run(write_texts(tmp_path), tmp_path / "out", config)
    assert len(report.wavs) == 5
    assert len({row.codes.tobytes() for row in open_codes(tmp_path / "out").rows()}) == 5
