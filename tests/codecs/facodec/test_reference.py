"""Our numbers on the reference's synthetic weights are the reference's, to the tolerances stated with them."""

import pytest
import torch

from slmtk.codecs.facodec import tables
from slmtk.codecs.facodec.model import analyse
from slmtk.codecs.facodec.transformer import modulate

LATENT, FEATURE, VECTOR, WAVE, STAGE = 3e-4, 2e-4, 2e-5, 2e-5, 5e-5
TIE = 5e-5  # cosines of best and second-best entry closer than this may change places

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def analyses(codecs, goldens):
    """Codes of the four recordings as they are, their lengths no whole number of frames."""
    found = {}
    with torch.inference_mode():
        for version in ("v1", "v2"):
            codec, golden = codecs[version], goldens[version]
            for n in range(4):
                found[version, n] = analyse(codec.encoder, codec.decoder, golden[f"w{n}.wav"])
    return found


def near(ours, theirs, tolerance):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def check_codes(ours, theirs, margin):
    """Codes are equal but for ties; the layers after a tie may follow it, so it would be seen there."""
    different = ours != theirs
    ties = int((different & (margin <= TIE)).sum())
    assert int(different.sum()) == ties, f"{int(different.sum())} codes differ, {ties} of them ties"
    print(f"{ours.numel()} codes, {ties} differ in ties")


def test_tables(goldens):
    golden = goldens["v2"]
    near(tables.resampling_filter().flatten(), golden["table.filter"], 1e-7)
    near(tables.positions()[[0, 1, 2, 3, 100, 4999], 0], golden["table.pe_rows"], 1e-6)
    near(tables.mel_filterbank(), golden["table.mel_basis"], 1e-8)
    near(tables.window(), golden["table.hann_window"], 1e-7)


@VERSIONS
@pytest.mark.parametrize("n", range(4))
def test_encoding(version, n, analyses, goldens):
    found, golden = analyses[version, n], goldens[version]
    check_codes(found.codes, golden[f"w{n}.codes"].long(), golden[f"w{n}.margin"])
    near(found.latent.T, golden[f"w{n}.enc"], LATENT)
    near(found.speaker, golden[f"w{n}.spk_emb"], VECTOR)
    near(found.prosody.T, golden[f"w{n}.quant_prosody"], VECTOR)
    near(found.content.T, golden[f"w{n}.quant_content"], VECTOR)
    near((found.prosody + found.content + found.residual).T, golden[f"w{n}.vq_post_emb"], VECTOR)


@VERSIONS
@pytest.mark.parametrize("n", range(4))
def test_decoding_six_and_three_streams(version, n, codecs, goldens):
    decoder, golden = codecs[version].decoder, goldens[version]
    codes, speaker = golden[f"w{n}.codes"].long(), golden[f"w{n}.spk_emb"]
    everything, spoken = decoder.embed(codes), decoder.embed(codes[:3])
    near(everything.T, golden[f"w{n}.vq_post_emb"], VECTOR)
    near(spoken.T, golden[f"w{n}.slm_emb"], VECTOR)
    near(decoder.render(everything, speaker), golden[f"w{n}.recon"], WAVE)
    near(decoder.render(spoken, speaker), golden[f"w{n}.slm_wav"], WAVE)


@VERSIONS
def test_voice_conversion_and_codes_of_a_language_model(version, codecs, goldens):
    codec, golden = codecs[version], goldens[version]
    for source, target in ((0, 1), (1, 0)):
        codes = golden[f"w{source}.codes"].long()[[1, 2, 0]]
        wav = codec.decode(codes[None], golden[f"w{target}.spk_emb"][None])
        near(wav[0], golden[f"vc.w{source}_as_w{target}"], WAVE)
    codes = golden["lm.codes"].long()
    near(codec.decoder.embed(codes).T, golden["lm.emb"], VECTOR)
    near(codec.decode(codes[None, [1, 2, 0]], golden["w0.spk_emb"][None])[0], golden["lm.wav"], WAVE)


@VERSIONS
def test_every_layer(version, codecs, goldens):
    codec, golden = codecs[version], goldens[version]
    seen = {}

    def observe(name, value):
        seen[name] = value.clone()

    found = analyse(codec.encoder, codec.decoder, golden["w0.wav"], observe)
    seen["enc6"] = found.latent.T
    codec.decoder.render(codec.decoder.embed(found.codes), found.speaker, observe)
    stages = [key for key in golden if key.startswith("stage.") and key != "stage.prosody_latent"]
    assert len(stages) == 16
    for key in stages:
        ours, theirs = seen[key.removeprefix("stage.")][:4], golden[key]
        near(torch.cat([ours[:, :24], ours[:, -24:]], 1), theirs, STAGE * float(theirs.abs().max()))
    if version == "v2":
        theirs = golden["stage.prosody_latent"]
        near(seen["prosody_latent"].T, theirs, STAGE * float(theirs.abs().max()))


@VERSIONS
def test_inputs_so_small_that_the_norms_epsilon_matters(version, codecs, goldens):
    decoder, golden = codecs[version].decoder, goldens[version]
    near(decoder.timbre_encoder(golden["eps.x"]), golden["eps.timbre_out"], VECTOR)
    near(decoder.render(golden["eps.emb"].T, golden["w0.spk_emb"]), golden["eps.wav"], WAVE)
    assert float(modulate(torch.zeros(1, 256), torch.ones(512)).max()) == 1


@pytest.mark.parametrize("n", range(4))
def test_prosody_feature_and_voice_of_every_layer(n, codecs, goldens, analyses):
    codec, golden = codecs["v2"], goldens["v2"]
    near(codec.encoder.mel_transform(golden[f"w{n}.wav"]), golden[f"w{n}.prosody_feat"], FEATURE)
    means = []
    codec.decoder.speaker(analyses["v2", n].latent, means)
    near(torch.stack(means[:3]), golden[f"w{n}.spk_layer_means"], VECTOR)


@VERSIONS
def test_the_references_batch_is_ours_with_its_position_vectors(version, codecs, goldens, monkeypatch):
    """The reference adds to an utterance a vector that depends on its row; ours is always that of row 0."""
    codec, golden = codecs[version], goldens[version]
    for row in range(2):
        for transformer in ("timbre_encoder", "melspec_encoder"):
            if hasattr(codec.decoder, transformer):
                buffers = getattr(codec.decoder, transformer)._buffers
                monkeypatch.setitem(buffers, "position", tables.positions()[row, 0])
        found = analyse(codec.encoder, codec.decoder, golden[f"w{row}.wav"][:8000])
        check_codes(found.codes, golden["batch.codes"][:, row].long(), golden["batch.margin"][:, row])
        near(found.speaker, golden["batch.spk_emb"][row], VECTOR)
        quantised = found.prosody + found.content + found.residual
        near(quantised.T, golden["batch.vq_post_emb"][row], VECTOR)
        near(codec.decoder.render(quantised, found.speaker), golden["batch.recon"][row], WAVE)


def test_redecoder(codecs, goldens):
    codec, golden = codecs["redecoder"], goldens["redecoder"]
    codes, speaker = golden["codes"].long(), golden["spk_emb"]
    spoken, everything = codec.redecoder.embed(codes[:3], speaker), codec.redecoder.embed(codes, speaker)
    near(spoken.T, golden["emb_no_residual"], VECTOR)
    near(everything.T, golden["emb_with_residual"], VECTOR)
    near(codec.redecoder.render(everything, speaker), golden["wav_with_residual"], WAVE)
    near(codec.decode(codes[None, [1, 2, 0]], speaker[None])[0], golden["wav_no_residual"], WAVE)
