"""The embedded codec on silence, clipped and very short sounds, and on real voices of both sexes."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from slmtk import audio
from slmtk.codecs.base import load_codec
from slmtk.codecs.world import analysis
from slmtk.codecs.world.tables import PATH, load_tables
from slmtk.codecs.world.timbre import VECTOR, Timbre, Voice, estimate_timbre
from slmtk.errors import FormatError


@pytest.fixture(scope="module")
def codec():
    return load_codec("world")


@pytest.fixture(scope="module")
def tables():
    return load_tables()[0]


def voice(f0: float, seconds: float = 1.0) -> torch.Tensor:
    """A buzz whose loudness and pitch move: float32 [1, S]."""
    time = torch.arange(int(seconds * 80) * 200) / 16_000
    phase = 2 * torch.pi * f0 * (time + 0.02 * torch.sin(2 * torch.pi * 2 * time))
    buzz = sum(torch.sin(k * phase) / k for k in range(1, 15))
    return (0.15 * buzz * (0.6 + 0.4 * torch.sin(2 * torch.pi * 3 * time)))[None].float()


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_the_shortest_sounds_have_codes_and_audio(codec, frames):
    wav = voice(150)[:, : frames * 200]
    encoded = codec.encode(wav)
    assert encoded.codes.shape == (1, 3, frames)
    assert codec.decode(*encoded).shape == (1, frames * 200)


def test_silence_stays_silence_in_any_voice(codec):
    silence = codec.encode(torch.zeros(1, 8000))
    assert (silence.codes[:, 2] == 0).all()
    for vector in (silence.speaker, codec.encode(voice(200)).speaker):
        assert codec.decode(silence.codes, vector).abs().max() < 1e-4


def test_silence_is_the_average_voice_at_the_lowest_level(codec):
    vector = codec.encode(torch.zeros(1, 8000)).speaker[0]
    assert vector[0] < -5
    assert vector[1:].abs().max() == 0


def test_clipped_and_full_scale_audio_stays_in_range(codec):
    wav = (20 * voice(120)).clamp(-1, 1)
    made = codec.decode(*codec.encode(wav))
    assert made.isfinite().all()
    assert 0.1 < made.abs().max() <= 1.0


def test_a_speaker_vector_of_any_numbers_gives_finite_audio(codec):
    codes = codec.encode(voice(150)).codes
    for scale in (0.0, 1.0, 10.0):
        vector = scale * torch.randn(1, VECTOR, generator=torch.Generator().manual_seed(1))
        made = codec.decode(codes, vector)
        assert made.isfinite().all()
        assert made.abs().max() <= 1.0


def test_louder_audio_has_the_same_codes_and_a_higher_level(codec):
    quiet, loud = codec.encode(0.25 * voice(150)), codec.encode(voice(150))
    assert (quiet.codes == loud.codes).float().mean() > 0.95
    assert loud.speaker[0, 0] - quiet.speaker[0, 0] == pytest.approx(2 * np.log(4), abs=0.02)


def test_bringing_a_voice_to_the_average_and_back_changes_nothing(tables):
    features = analysis.analyse(voice(170)[0].numpy().astype(np.float64))
    timbre = estimate_timbre(features, tables)
    again = Timbre.from_vector(timbre.to_vector())
    for name, value in vars(timbre).items():
        np.testing.assert_allclose(getattr(again, name), value)
    own = Voice(timbre, tables)
    shapes, voiced = features.cepstrum[:, 1:], features.pitch > 0
    assert voiced.any()
    np.testing.assert_allclose(
        own.shapes_from_average(own.shapes_to_average(shapes, voiced), voiced), shapes, atol=1e-8
    )
    pitch = features.pitch[voiced]
    np.testing.assert_allclose(own.pitch(own.height(pitch)), pitch)
    power = np.linspace(own.level - 12, own.level + 3, 40)
    np.testing.assert_allclose(own.loudness_from_average(own.loudness_to_average(power)), power, atol=1e-8)


def test_the_average_voice_is_all_zeros(tables):
    average = Voice(Timbre.from_vector(np.zeros(VECTOR)), tables)
    shapes = np.random.default_rng(0).normal(size=(6, 23))
    voiced = np.arange(6) % 2 == 0
    np.testing.assert_allclose(average.shapes_to_average(shapes, voiced), shapes, atol=1e-9)
    assert average.pitch(np.zeros(1)) == pytest.approx(np.exp(tables.pitch[0]))


def test_more_than_a_minute_is_worked_on_in_blocks_that_cannot_be_heard(codec):
    wav = torch.cat([voice(150, 2.0)] * 31, dim=1)
    whole = analysis.analyse(wav[0].numpy().astype(np.float64))
    seam = slice(55 * 80, 62 * 80)
    around = analysis.analyse(wav[0, 55 * 16_000 :].numpy().astype(np.float64))
    inside = slice(80, -80)
    np.testing.assert_allclose(whole.pitch[seam][inside], around.pitch[inside], rtol=1e-3)
    np.testing.assert_allclose(whole.cepstrum[seam][inside], around.cepstrum[inside], atol=0.05)
    assert codec.decode(*codec.encode(wav)).shape == wav.shape


def test_tables_that_are_not_ours_are_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "tables.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="cannot be read"):
        load_tables(path)
    arrays = load_file(PATH)
    save_file({name: array for name, array in arrays.items() if name != "pitch"}, path)
    with pytest.raises(FormatError, match="the tables of codec 'world' are"):
        load_tables(path)
    save_file({**arrays, "pitch": np.full(2, np.nan, np.float32)}, path)
    with pytest.raises(FormatError, match="table 'pitch' is"):
        load_tables(path)
    save_file({**arrays, "loudness": arrays["loudness"][::-1].copy()}, path)
    with pytest.raises(FormatError, match="is not one"):
        load_tables(path)


def test_the_package_stays_small():
    assert PATH.stat().st_size < 1_000_000


def recordings(shared_data: Path, speakers: tuple[str, ...]) -> dict[str, torch.Tensor]:
    with open(shared_data / "read_speech" / "metadata.tsv", encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if float(row["seconds"]) > 3
        ]
    chosen = {name: next(row for row in rows if row["speaker"] == name) for name in speakers}
    return {
        name: audio.pad_to_frames(audio.read(shared_data / row["path"], 16_000)[0], 200)[None]
        for name, row in chosen.items()
    }


def test_real_voices_of_both_sexes_keep_their_level_and_pitch(codec, shared_data):
    for wav in recordings(shared_data, ("1089", "p225", "LJ", "p226")).values():
        encoded = codec.encode(wav)
        made = codec.decode(*encoded)
        decibels = 10 * torch.log10(made.square().mean() / wav.square().mean())
        assert abs(decibels) < 2
        before, after = (analysis.analyse(w[0].numpy().astype(np.float64)).pitch for w in (wav, made))
        both = (before > 0) & (after > 0)
        assert both.sum() > 0.8 * (before > 0).sum()
        assert np.median(np.abs(np.log(after[both] / before[both]))) < 0.03


def test_real_voices_can_be_exchanged(codec, shared_data):
    from slmtk.metrics.similarity import cosine
    from slmtk.speakers.resemblyzer import ResemblyzerEncoder

    encoder = ResemblyzerEncoder()
    voices = {n: wav[:, :80_000] for n, wav in recordings(shared_data, ("1089", "LJ", "p225", "p226")).items()}
    vectors = {name: encoder.embed(wav[0]) for name, wav in voices.items()}
    encoded = {name: codec.encode(wav) for name, wav in voices.items()}
    won = 0
    for a, b in itertools.permutations(voices, 2):
        made = encoder.embed(codec.decode(encoded[a].codes, encoded[b].speaker)[0])
        won += cosine(made, vectors[b]) > cosine(made, vectors[a])
    # With means and pitch alone in the vector it is 5 of 12.
    assert won >= 8


def chances(codes: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Equal probabilities of each of some codes [N, 3]: float [N, 3, 1024]."""
    out = torch.zeros(len(codes), 3, 1024)
    for some in (codes, *others):
        out.scatter_add_(2, some[..., None], torch.full((len(codes), 3, 1), 1 / (1 + len(others))))
    return out


def test_the_mean_of_one_code_is_that_code_or_sounds_like_it(codec, tables):
    codes = torch.randint(0, 1024, (50, 3), generator=torch.Generator().manual_seed(0))
    codes[:, 2] = (codes[:, 2] // 32).clamp(min=1) * 32 + (codes[:, 2] % 32).clamp(min=1)
    found = codec.average(chances(codes))
    assert torch.equal(found[:, 2], codes[:, 2])

    def shapes(some: torch.Tensor) -> np.ndarray:
        return tables.content1[some[:, 0].numpy()] + tables.content2[some[:, 1].numpy()]

    assert np.abs(shapes(found) - shapes(codes)).max() < 1e-9


def test_the_mean_lies_between_and_is_voiced_if_that_is_likelier(codec, tables):
    low, high, unvoiced = 10 * 32 + 20, 14 * 32 + 24, 20
    first, second = torch.tensor([[3, 4, low]]), torch.tensor([[500, 600, high]])
    found = codec.average(chances(first, second))
    middle = (tables.content1[[3, 500]] + tables.content2[[4, 600]]).mean(0)
    error = [
        np.square(tables.content1[codes[0]] + tables.content2[codes[1]] - middle).sum()
        for codes in (found[0], first[0], second[0])
    ]
    assert error[0] < min(error[1:]) / 2
    assert 10 <= int(found[0, 2]) // 32 <= 14
    assert 20 <= int(found[0, 2]) % 32 <= 24
    silent = torch.tensor([[3, 4, unvoiced]])
    assert int(codec.average(chances(first, silent, silent))[0, 2]) == unvoiced
    assert int(codec.average(chances(silent, first, second))[0, 2]) // 32 > 0
    assert int(codec.average(chances(torch.tensor([[3, 4, 0]])))[0, 2]) == 0
