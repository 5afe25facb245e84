"""--engine ray on a real cluster of several processes: the same bytes, and nothing lost with a machine."""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import time
from pathlib import Path

import pytest

from slmtk.engines.ray import Cluster, connect
from slmtk.errors import ConfigError, MissingDependencyError, SlmtkError
from slmtk.stages.tokenize.work import _make_job_there
from tests.helpers.tone_corpus import FIVE_A_PART, Notebook, compute_in_this_process, contents, run, write_tones

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'slmtk[ray]'")
FATAL, MEETING = "tests.helpers.tone:FatalToneCodec", "tests.helpers.meeting:MeetingToneCodec"


@pytest.fixture(scope="module")
def two_nodes():
    """A cluster whose head does no work, with two machines of one core each."""
    import ray
    from ray.cluster_utils import Cluster as LocalCluster

    cluster = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@needs_ray
@pytest.mark.slow
def test_a_codec_that_kills_its_process_is_told_with_its_utterance(tmp_path, two_nodes):
    import soundfile

    source = write_tones(tmp_path / "in", 5)
    soundfile.write(source / "s0/1/zz.flac", [0.0] * 20_000, 16_000)
    notebook = Notebook()
    with pytest.raises(SlmtkError, match=r"3 actors of the Ray cluster died while encoding zz; 1 of 2 parts are"):
        run(source, tmp_path / "out", notebook, codec=FATAL, engine="ray", shard_hours=FIVE_A_PART, workers=1)
    assert sum("died; another does the" in line for line in notebook.lines) == 2


@needs_ray
def test_a_device_that_the_cluster_does_not_have_is_refused(tmp_path, two_nodes):
    source = write_tones(tmp_path / "in", 1)
    for device, message in (("cuda", "has no GPU; use --device cpu or auto"), ("cuda:1", "Ray chooses the GPU")):
        with pytest.raises(ConfigError, match=message):
            run(source, tmp_path / "out", engine="ray", device=device)


@needs_ray
@pytest.mark.slow
def test_a_machine_lost_in_mid_run_loses_nothing_and_the_bytes_are_those_of_a_local_run(
    tmp_path, two_nodes, monkeypatch
):
    source, out = write_tones(tmp_path / "in", 90), tmp_path / "out"
    (tmp_path / "meeting").mkdir()
    options = {"codec": MEETING, "codec_checkpoint": tmp_path / "meeting", "shard_hours": FIVE_A_PART}
    monkeypatch.setattr("slmtk.stages.tokenize.parts._CHUNK_ROWS", 2)
    notebook = Notebook()

    def lose_a_machine():
        deadline = time.monotonic() + 60
        while len(list(out.glob("part-*.parquet"))) < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        two_nodes.remove_node(two_nodes.second, allow_graceful=False)

    loser = threading.Thread(target=lose_a_machine)
    loser.start()
    report = run(source, out, notebook, **options, engine="ray", workers=None)
    loser.join()
    assert (report.encoded, report.failed, report.parts) == (90, 0, 18)
    assert any("an actor of the Ray cluster died" in line for line in notebook.lines)
    compute_in_this_process(monkeypatch)
    run(source, tmp_path / "local", **options)
    assert contents(out) == contents(tmp_path / "local")


@needs_ray
def test_without_a_cluster_one_line_says_how_to_start_one(monkeypatch):
    import ray

    def init(**options):
        assert options["address"] == "10.0.0.1:6379"
        raise ConnectionError("Could not find any running Ray instance.\nPlease ...")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(
        SlmtkError, match=r"no Ray cluster at '10.0.0.1:6379' \(Could not .* instance.\); start one with `ray start"
    ):
        connect("10.0.0.1:6379")


def test_a_machine_that_does_not_see_the_corpus_is_told_instead_of_counting_its_files_as_missing(tmp_path):
    for folder, root in ((tmp_path / "none", None), (tmp_path, Path("corpus"))):
        with pytest.raises(SlmtkError, match=r"is not there on .*; all machines of the cluster must see it"):
            _make_job_there(lambda: pytest.fail("must not load"), folder, root)


def test_without_ray_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"not installed; run: pip install 'slmtk\[ray\]'"):
        connect()


def test_the_device_is_what_the_cluster_has():
    with_gpus, without = Cluster("here", gpus=2, cpus=8, joined=False), Cluster("here", gpus=0, cpus=8, joined=False)
    assert [with_gpus.device(name) for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    assert without.device("auto") == "cpu"
