#!/usr/bin/env bash
# A digit speaker from real recordings: examples/digits.sh FSDD_FOLDER [OUT]
#
# FSDD_FOLDER holds metadata.tsv (path, digit, word, speaker, index, official_split) and the recordings of the Free Spoken
# Digit Dataset. Tokenizes all, trains on the official training part, speaks every test digit in its speaker's voice and
# prints the digit WER of recordings, resynthesis and synthesis under a grammar of ten words. Run it again to resume.
set -euo pipefail

DATA=$(cd "${1:?usage: examples/digits.sh FSDD_FOLDER [OUT]}" && pwd)
OUT=${2:-digits}
STEPS=${STEPS:-3000}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0} HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}

run() {
    printf '$ slmtk'
    printf ' %q' "$@"
    printf '\n'
    slmtk "$@"
}

mkdir -p "$OUT"
cat >"$OUT/digits.jsgf" <<'JSGF'
#JSGF V1.0;
grammar digits;
public <digit> = zero | one | two | three | four | five | six | seven | eight | nine;
JSGF

# One manifest a part, with ids such as 7_theo_12, and the test digits as lines to speak: each takes its voice from
# another digit of the same speaker and index, which was not trained on either.
for part in train test; do
    awk -F '\t' -v OFS='\t' -v part="$part" -v data="$DATA" '
        NR == 1 { print "id", "path", "text", "speaker"; next }
        $8 == part { print $2 "_" $4 "_" $5, data "/" $1, $3, $4 }' "$DATA/metadata.tsv" >"$OUT/$part.tsv"
done
awk -F '\t' -v OFS='\t' -v data="$DATA" '
    NR == 1 { print "id", "text", "reference"; next }
    $8 == "test" { print $2 "_" $4 "_" $5, $3, data "/recordings/" ($2 + 5) % 10 "_" $4 "_" $5 ".flac" }' \
    "$DATA/metadata.tsv" >"$OUT/speak.tsv"

run tokenize "$OUT/train.tsv" "$OUT/codes" --codec world
run tokenize "$OUT/test.tsv" "$OUT/test-codes" --codec world
run build-dataset "$OUT/codes" "$OUT/dataset" --tokenizer bpe:320 --min-seconds 0.1
run train "$OUT/dataset" "$OUT/model" --base tiny --size xs --frames-per-step 4 --batch-size 16 \
    --learning-rate 2e-3 --beta2 0.99 --weight-decay 0.1 --steps "$STEPS" --save-every 500 --eval-every 250
run synth "$OUT/speak.tsv" "$OUT/speech" --model "$OUT/model" --max-seconds 3
run eval-wer "$OUT/test.tsv" --out "$OUT/scores/recordings" --grammar "$OUT/digits.jsgf" --no-similarity --group-by speaker
run eval-wer "$OUT/test.tsv" "$OUT/test-codes" --out "$OUT/scores/codec" --grammar "$OUT/digits.jsgf" --no-similarity \
    --group-by speaker
run eval-wer "$OUT/test.tsv" "$OUT/speech" --out "$OUT/scores/model" --grammar "$OUT/digits.jsgf" --no-similarity \
    --group-by speaker
