#!/usr/bin/env bash
# A small model that speaks general English in anybody's voice, from nothing: examples/voice-in-the-box.sh TEXT.tsv [OUT]
#
# TEXT.tsv holds an id and a sentence a line, such as the public-domain sentences of LJ Speech (its metadata.csv with tabs).
# Flite speaks them in four synthetic voices, codec `world` turns them into codes, a model of 8 million parameters learns
# to speak, is packed into 8 bits a weight, and speaks sentences that it never saw. Run it again to resume.
#
# slmtk/voice/model is what it made on two cores in an hour and a half with PRECISION=bf16, taken at step 8,000 of 9,000.
#
# What helped: phonemes instead of letters, and voices as Flite speaks them instead of forty bent ones; phrases of one to
# five words before sentences, without which a model finds no connection between text and codes in thousands of steps; codes
# chosen as the mean of all that are likely, since twelve heads that each take their best one do not go together. Four
# voices are four points in the space of speaker vectors, so they are blurred: otherwise the vector of a real person
# would make the model forget the text.
set -euo pipefail

TEXT=${1:?usage: examples/voice-in-the-box.sh TEXT.tsv [OUT]}
OUT=${2:-voice-in-the-box}
HERE=$(cd "$(dirname "$0")" && pwd)
PRECISION=${PRECISION:-auto} # bf16: three times as fast on a processor with AVX512-BF16 or AMX
PHRASE_STEPS=${PHRASE_STEPS:-1600}
STEPS=${STEPS:-9000}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0} HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}

# Print a command as one would type it, then run it. Exit status 3: done, except for inputs that failed.
run() {
    local status=0
    printf '$'
    printf ' %q' "$@"
    printf '\n'
    "$@" || status=$?
    ((status == 0 || status == 3)) || exit "$status"
}

say() { printf '\n# %s\n' "$*"; }

train() {
    run slmtk train "$@" --precision "$PRECISION" --pack-tokens 1024 --batch-size 3 --beta2 0.99 --weight-decay 0.1
}

# A line for each test sentence, spoken in the voice of the speaker's first training recording.
write_lines() {
    python - "$OUT/corpus" "$OUT/speak.jsonl" <<'PYTHON'
import csv, json, sys
from pathlib import Path

corpus = Path(sys.argv[1]).resolve()
rows = {
    part: list(csv.DictReader((corpus / part / "manifest.tsv").open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))
    for part in ("train", "test")
}
first = {row["speaker"]: row["path"] for row in reversed(rows["train"])}
with open(sys.argv[2], "w", encoding="utf-8") as file:
    for row in rows["test"]:
        line = {"id": row["id"], "text": row["text"], "reference": str(corpus / "train" / first[row["speaker"]])}
        print(json.dumps(line), file=file)
PYTHON
}

mkdir -p "$OUT"

say "1. Sentences and phrases in four synthetic voices"
run python "$HERE/voice_corpus.py" "$TEXT" "$OUT/corpus"

say "2. Speech -> codes"
for part in short train test; do
    run slmtk tokenize "$OUT/corpus/$part" "$OUT/codes-$part" --codec world
done

say "3. Phrases, and both together, with one text tokenizer"
run slmtk build-dataset "$OUT/codes-short" "$OUT/phrases" --tokenizer phonemes
run slmtk build-dataset "$OUT/codes-short" "$OUT/codes-train" "$OUT/dataset" --tokenizer "$OUT/phrases/tokenizer"

say "4. Train: one step predicts four frames of three streams"
train "$OUT/phrases" "$OUT/model-phrases" --base tiny --size 256x4 --frames-per-step 4 --speaker-aware \
    --learning-rate 2e-3 --schedule constant_with_warmup --steps "$PHRASE_STEPS"
train "$OUT/dataset" "$OUT/model" --base "$OUT/model-phrases" --speaker-noise 1 \
    --learning-rate 2e-3 --warmup 0.02 --steps "$STEPS"

say "5. Pack it: 8 bits a weight, with four voices of its own; slmtk/voice/model is where synth looks for it"
run python -m slmtk.models.packed "$OUT/model" "$OUT/packed" --piece-seconds 10 \
    --choose mean --temperature 0.5 \
    --voice "slt=$OUT/codes-train:slt" --voice "rms=$OUT/codes-train:rms" \
    --voice "awb=$OUT/codes-train:awb" --voice "kal=$OUT/codes-train:kal16"

say "6. Speak sentences that were never trained on; scores of recordings, codec and model under an open vocabulary"
write_lines
run slmtk synth "$OUT/speak.jsonl" "$OUT/speech" --model "$OUT/packed"
run slmtk eval-wer "$OUT/corpus/test" "$OUT/codes-test" --out "$OUT/scores/codec"
run slmtk eval-wer "$OUT/corpus/test" "$OUT/speech" --out "$OUT/scores/model" --against "$OUT/scores/codec"
run slmtk compare "$OUT/scores/codec" "$OUT/scores/model"
