"""FACodec in stretches: the generator's reach is finite, and declared."""

import numpy as np
import pytest
import torch

from slmtk.codecs.streaming import Pace, stream_decode


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_audio_in_stretches_is_audio_in_one_go(name, codecs):
    codec = codecs[name]
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(1024, (3, 120), generator=generator)
    speaker = torch.randn(256, generator=generator)
    whole = codec.decode(codes[None], speaker[None])[0].numpy()
    stretches = list(stream_decode(codec, codes.split(3, dim=1), speaker, Pace(0.1, 1.0, 0.3)))
    assert len(stretches) > 4
    wav = np.concatenate(stretches)
    assert wav.shape == whole.shape
    assert ((wav - whole) ** 2).mean() < 1e-9 * (whole**2).mean()


def test_the_redecoder_attends_to_all_and_says_so(codecs):
    assert codecs["redecoder"].decode_context is None


def test_the_generators_reach_is_found_by_what_it_spoils(codecs):
    """Not a number at one frame of the latent comes out wherever that frame is heard: no further than declared."""
    latent = torch.zeros(71, 256)
    latent[35] = torch.nan
    with torch.inference_mode():
        spoilt = codecs["v2"].decoder.model(latent).isnan().nonzero() // 200
    reach = (int(spoilt.max()) - 35, 35 - int(spoilt.min()))
    assert reach == codecs["v2"].decode_context
