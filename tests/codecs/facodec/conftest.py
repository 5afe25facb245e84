"""A checkpoint in the published format with the reference's synthetic weights, and what the reference made of it."""

import importlib.util
import json
import re

import numpy as np
import pytest
import torch

from slmtk.codecs.facodec import FacodecRedecoder, FacodecV1, FacodecV2, tables

TRAINING_ONLY = re.compile(r"(f0|phone|timbre)_predictor\.")
FILES = ("encoder_v1", "decoder_v1", "encoder_v2", "decoder_v2", "redecoder")


def computed(key):
    name = key.rsplit(".", 1)[-1]
    table = {
        "filter": tables.resampling_filter,
        "pe": tables.positions,
        "mel_basis": tables.mel_filterbank,
        "hann_window": tables.window,
    }
    return table[name]()


@pytest.fixture(scope="session")
def reference(shared_data):
    folder = shared_data.parent / "conformance" / "facodec"
    if not folder.is_dir():
        pytest.skip("no reference values of FACodec here")
    return folder


@pytest.fixture(scope="session")
def checkpoint(reference, tmp_path_factory):
    script = importlib.util.spec_from_file_location("facodec_fill_weights", reference / "fill_weights.py")
    fill_weights = importlib.util.module_from_spec(script)
    script.loader.exec_module(fill_weights)
    folder = tmp_path_factory.mktemp("facodec")
    for name in FILES:
        rows = json.loads((reference / f"state_dict_{name}.json").read_text())
        filled = fill_weights.fill(rows, 0, skip=TRAINING_ONLY.pattern)
        state = {}
        for row in rows:
            key = row["key"]
            if TRAINING_ONLY.search(key):
                state[key] = torch.zeros(1)  # known by name alone, and a quarter of a gigabyte
            else:
                state[key] = computed(key) if row.get("computed") else torch.from_numpy(filled[key])
        torch.save(state, folder / f"ns3_facodec_{name.replace('_v1', '')}.bin")
    return folder


@pytest.fixture(scope="session")
def codecs(checkpoint):
    return {
        "v1": FacodecV1.create(checkpoint=checkpoint),
        "v2": FacodecV2.create(checkpoint=checkpoint),
        "redecoder": FacodecRedecoder.create(checkpoint=checkpoint),
    }


@pytest.fixture(scope="session")
def goldens(reference):
    def load(name):
        with np.load(reference / f"golden_{name}.npz") as file:
            return {key: torch.from_numpy(file[key]) for key in file.files}

    return {name: load(name) for name in ("v1", "v2", "redecoder")}
