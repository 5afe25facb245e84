#!/usr/bin/env bash
# A small model that speaks general English in anybody's voice, from nothing: examples/voice-in-the-box.sh TEXT.tsv [OUT]
#
# TEXT.tsv holds an id and a sentence a line, such as the public-domain sentences of LJ Speech (its metadata.csv with tabs).
# Flite speaks them in forty synthetic voices, codec `world` turns them into codes, a model of 8 million parameters learns
# to speak, is packed into 8 bits a weight, and speaks sentences that it never saw. Run it again to resume.
#
# The numbers of steps below are what was tried, not enough: of unseen sentences 85 % of the words were misheard, 36 % after
# the codec alone; benchmarks/LOG.md has the curve. So no voice comes with the package yet. More steps are better.
#
# A model from scratch has to find out which letters belong to which sound. From whole sentences alone it learned within
# 1,750 steps how codes follow each other and nothing of the text; then from phrases of one to five words it learned to read
# within a few hundred, and from both to read sentences. Forty voices are forty points in the space of speaker vectors; the
# last part blurs them: before, the vector of a real person made the model forget the text.
set -euo pipefail

TEXT=${1:?usage: examples/voice-in-the-box.sh TEXT.tsv [OUT]}
OUT=${2:-voice-in-the-box}
HERE=$(cd "$(dirname "$0")" && pwd)
PRECISION=${PRECISION:-auto} # bf16: three times as fast on a processor with AVX512-BF16 or AMX
SOUND_STEPS=${SOUND_STEPS:-1750}
PHRASE_STEPS=${PHRASE_STEPS:-1500}
SENTENCE_STEPS=${SENTENCE_STEPS:-1800}
VOICE_STEPS=${VOICE_STEPS:-2400}
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

say "1. Sentences and phrases in forty synthetic voices"
run python "$HERE/voice_corpus.py" "$TEXT" "$OUT/corpus"

say "2. Speech -> codes"
for part in short train test; do
    run slmtk tokenize "$OUT/corpus/$part" "$OUT/codes-$part" --codec world
done

say "3. Sentences, phrases, and both, with one text tokenizer"
run slmtk build-dataset "$OUT/codes-train" "$OUT/sentences" --tokenizer bpe:512
run slmtk build-dataset "$OUT/codes-short" "$OUT/phrases" --tokenizer "$OUT/sentences/tokenizer"
run slmtk build-dataset "$OUT/codes-short" "$OUT/codes-train" "$OUT/dataset" --tokenizer "$OUT/sentences/tokenizer"

say "4. Train: one step predicts four frames of three streams"
train "$OUT/sentences" "$OUT/model-sounds" --base tiny --size 256x4 --frames-per-step 4 --speaker-aware \
    --learning-rate 2e-3 --schedule constant_with_warmup --steps "$SOUND_STEPS"
train "$OUT/phrases" "$OUT/model-phrases" --base "$OUT/model-sounds" \
    --learning-rate 2e-3 --schedule constant_with_warmup --steps "$PHRASE_STEPS"
train "$OUT/dataset" "$OUT/model-sentences" --base "$OUT/model-phrases" \
    --learning-rate 2e-3 --schedule constant_with_warmup --steps "$SENTENCE_STEPS"
train "$OUT/dataset" "$OUT/model" --base "$OUT/model-sentences" --speaker-noise 1 \
    --learning-rate 1.2e-3 --warmup 0.02 --steps "$VOICE_STEPS"

say "5. Pack it: 8 bits a weight, with four voices of its own; slmtk/voice/model is where synth looks for it"
run python -m slmtk.models.packed "$OUT/model" "$OUT/packed" --piece-seconds 10 \
    --voice "slt=$OUT/codes-train:slt06" --voice "rms=$OUT/codes-train:rms05" \
    --voice "awb=$OUT/codes-train:awb05" --voice "kal=$OUT/codes-train:kal1603"

say "6. Speak sentences that were never trained on; scores of recordings, codec and model under an open vocabulary"
write_lines
run slmtk synth "$OUT/speak.jsonl" "$OUT/speech" --model "$OUT/packed"
run slmtk eval-wer "$OUT/corpus/test" "$OUT/codes-test" --out "$OUT/scores/codec"
run slmtk eval-wer "$OUT/corpus/test" "$OUT/speech" --out "$OUT/scores/model" --against "$OUT/scores/codec"
run slmtk compare "$OUT/scores/codec" "$OUT/scores/model"
