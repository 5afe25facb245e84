"""The test codec does what it says, on numbers worked out by hand."""

from __future__ import annotations

import torch

from tests.helpers.tone import ToneCodec, VoicedToneCodec


def test_every_pair_of_codes_survives_decode_then_encode():
    codes = torch.cartesian_prod(torch.arange(64), torch.arange(16)).T[None]  # int64 [1, 2, 1024]
    torch.testing.assert_close(ToneCodec().encode(ToneCodec().decode(codes)).codes, codes)


def test_another_speakers_vector_makes_the_same_codes_louder():
    codes = torch.tensor([[[4, 7], [2, 2]]])
    quiet, loud = (VoicedToneCodec().decode(codes, torch.tensor([[level]])) for level in (0.25, 1.0))
    torch.testing.assert_close(loud, 4 * quiet)
