#!/usr/bin/env bash
# From no data to a measured speech language model, offline, on two CPU cores: examples/quickstart.sh [FOLDER]
#
# Run it again after an interruption: each step takes up what is finished. At the end FOLDER/report.txt holds the table.
set -euo pipefail

OUT=${1:-quickstart}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Threads that spin while they wait slow small training down several times on a busy machine.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0}
export TOKENIZERS_PARALLELISM=${TOKENIZERS_PARALLELISM:-false} HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}

command -v slmtk >/dev/null || {
    echo "quickstart: no slmtk here; run 'make quickstart', or activate the environment slmtk is installed in" >&2
    exit 1
}

say() { printf '\n# %s\n' "$*"; }

# Print a command as one would type it, then run it. Exit status 3: done, except for inputs that failed.
run() {
    local status=0
    printf '$ slmtk'
    printf ' %q' "$@"
    printf '\n'
    slmtk "$@" || status=$?
    ((status == 0 || status == 3)) || exit "$status"
}

mkdir -p "$OUT"

say "1. A corpus: sentences of a small grammar in four synthetic voices, some kept back for the end"
run make-corpus "$OUT/corpus"

say "2. Speech -> codes: what will be trained on, and what is kept back"
run tokenize "$OUT/corpus/train" "$OUT/codes" --codec world
run tokenize "$OUT/corpus/test" "$OUT/test-codes" --codec world

say "3. What the codes hold"
run inspect "$OUT/codes"

say "4. Codes and texts -> a training set: reading aloud, and answering questions"
run build-dataset "$OUT/codes" "$OUT/dataset" --tokenizer bpe:512 --questions "$OUT/corpus/questions.jsonl" \
    --split-by text

say "5. Train a small model from scratch: one step predicts four frames of three streams"
run train "$OUT/dataset" "$OUT/model" --base tiny --size xs --frames-per-step 4 --speaker-aware \
    --batch-size 8 --learning-rate 2e-3 --beta2 0.99 --steps 2000

say "6. Speak sentences that were never trained on, each in the voice of a reference clip"
run synth "$OUT/corpus/unseen.jsonl" "$OUT/speech" --model "$OUT/model"

say "7. Scores: the recordings themselves, the recordings through the codec, the model"
score() {
    run eval-wer "$OUT/corpus/test" "${@:2}" --out "$OUT/scores/$1" \
        --grammar "$OUT/corpus/grammar.jsgf" --references "$OUT/corpus/unseen.jsonl"
}
score recordings
score codec "$OUT/test-codes"
score model "$OUT/speech"

say "8. Spoken question answering in roles"
run roletrivia-bench "$OUT/corpus/roletrivia.jsonl" "$OUT/roletrivia" --model "$OUT/model" \
    --grammar "$OUT/corpus/answers.jsgf"

say "What came of it"
python "$HERE/quickstart_table.py" "$OUT"
