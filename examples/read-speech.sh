#!/usr/bin/env bash
# Real sentences the whole way: examples/read-speech.sh METADATA_TSV REFERENCE [OUT]
#
# METADATA_TSV is a manifest (utt_id, path, subset, speaker, text), REFERENCE a recording of the voice to speak in. It
# tokenizes everything, scores the recordings and their resynthesis per subset, trains a speaker-aware model for a few
# hundred steps (enough to see that all of it runs on real input, not to speak) and lets it speak. Run it again to resume.
set -euo pipefail

MANIFEST=${1:?usage: examples/read-speech.sh METADATA_TSV REFERENCE [OUT]}
REFERENCE=${2:?usage: examples/read-speech.sh METADATA_TSV REFERENCE [OUT]}
OUT=${3:-read-speech}
STEPS=${STEPS:-300}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0} HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}

run() {
    printf '$ slmtk'
    printf ' %q' "$@"
    printf '\n'
    slmtk "$@"
}

run tokenize "$MANIFEST" "$OUT/codes" --codec world --id-column utt_id --keep-column subset
run inspect "$OUT/codes"
run build-dataset "$OUT/codes" "$OUT/dataset" --tokenizer bpe:1024 --split-by speaker --max-seconds 15
run train "$OUT/dataset" "$OUT/model" --base tiny --size s --frames-per-step 4 --batch-size 8 \
    --learning-rate 1e-3 --steps "$STEPS"
run synth "The quick brown fox jumps over the lazy dog." "$OUT/speech" --model "$OUT/model" --speaker "$REFERENCE" \
    --temperature 0.8 --top-k 50
run eval-wer "$MANIFEST" --id-column utt_id --out "$OUT/scores/recordings" --group-by subset
run eval-wer "$MANIFEST" "$OUT/codes" --id-column utt_id --out "$OUT/scores/codec" --group-by subset
