#!/usr/bin/env bash
# Spoken question answering in eight roles, offline, on two CPU cores: examples/roletrivia-mini.sh [OUT]
#
# The embedded corpus with a small RoleTriviaQA of over a hundred questions: a tiny model is trained from scratch on the
# answers to its ID part, then asked everything: ID as trained, ID in a wording it never saw, OOD. No question is asked of
# a role that answered it in training. Run it again to resume; OUT/bench/scores.json holds the scores.
# SENTENCES, STEPS and PRECISION may be set: bf16 is for a processor that computes in it.
set -euo pipefail

OUT=${1:-roletrivia-mini}
SENTENCES=${SENTENCES:-160}
STEPS=${STEPS:-2000}
PRECISION=${PRECISION:-auto}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0} HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}
export TOKENIZERS_PARALLELISM=${TOKENIZERS_PARALLELISM:-false}

command -v slmtk >/dev/null || {
    echo "roletrivia-mini: no slmtk here; activate the environment that it is installed in" >&2
    exit 1
}

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
run make-corpus "$OUT/corpus" --trivia mini --sentences "$SENTENCES"
run tokenize "$OUT/corpus/train" "$OUT/codes" --codec world
run build-dataset "$OUT/codes" "$OUT/dataset" --tokenizer bpe:1024 --questions "$OUT/corpus/questions.jsonl" \
    --dev-fraction 0
run train "$OUT/dataset" "$OUT/model" --base tiny --size xs --frames-per-step 4 --speaker-aware \
    --batch-size 16 --task-weights tts=0.5 --learning-rate 2e-3 --beta2 0.99 --steps "$STEPS" --precision "$PRECISION"
run roletrivia-bench "$OUT/corpus/roletrivia.jsonl" "$OUT/bench" --model "$OUT/model" \
    --grammar "$OUT/corpus/answers.jsgf"
