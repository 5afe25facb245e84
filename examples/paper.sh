#!/usr/bin/env bash
# The experiments of arXiv 2506.12537 with FACodec, on a machine with internet and GPUs: examples/paper.sh
#
#     DATA=/data OUT=/runs/paper GPUS=8 examples/paper.sh
#     DRY_RUN=1 examples/paper.sh        check every command offline, without data, and write nothing
#
# Part "tts": LibriTTS -> codes -> models of next-token prediction (ntp) and of 3, 6 and 12 heads (mtp-3h, mtp-6h, mtp-12h),
# and one of 12 heads that knows the speaker (mtp-12h-speaker); each reads all of test-clean aloud and is scored, beside the
# recordings and their resynthesis. Part "qa": Emilia (DNSMOS >= 3.5) -> pre-training, RoleTriviaQA -> fine-tuning and
# benchmark. Run it again to resume: each command takes up what is finished.
#
# DATA holds LibriTTS/ as unpacked (train-clean-100, train-clean-360, train-other-500, test-clean) and Emilia/EN with its
# tar shards. RoleTriviaQA comes from the hub. Hyper-parameters are those that the authors' scripts set; what these leave
# open is chosen here and marked "ours".
set -euo pipefail

DATA=${DATA:-data}
OUT=${OUT:-paper}
GPUS=${GPUS:-8}
DRY_RUN=${DRY_RUN:-}
PARTS=${PARTS:-tts qa}
BASE=${BASE:-Qwen/Qwen2.5-0.5B}
QA_BASE=${QA_BASE:-Qwen/Qwen2.5-0.5B-Instruct}
RECOGNIZER=${RECOGNIZER:-openai/whisper-large-v3} # ours
EPOCHS=${EPOCHS:-3}                               # ours
MAX_SECONDS=${MAX_SECONDS:-36}                    # ours: longer than any sentence of test-clean

# RoleTriviaQA: look at the dataset's page for the names of its columns and splits.
QA_DATA=${QA_DATA:-cnxup/RoleTriviaQA}
QA_SPLIT=${QA_SPLIT:-train}
QA_QUESTION=${QA_QUESTION:-question}
QA_TEXT=${QA_TEXT:-answer}
QA_AUDIO=${QA_AUDIO:-audio}
QA_SPEAKER=${QA_SPEAKER:-role}
# The benchmark's questions as docs/roletrivia.md describes them: question, answers, reference, role, split.
QA_BENCH=${QA_BENCH:-$DATA/RoleTriviaQA/test.jsonl}

# Print a command as one would type it, then run it. Exit status 3: done, except for inputs that failed.
run() {
    local status=0
    [[ -z $DRY_RUN ]] || set -- "$@" --dry-run
    printf '$'
    printf ' %q' "$@"
    printf '\n'
    "$@" || status=$?
    ((status == 0 || status == 3)) || exit "$status"
}

say() { printf '\n# %s\n' "$*"; }

# Batch 1 x accumulation 4 x 8 GPUs, so 32 utterances a step whatever the number of GPUs.
ACCUMULATION=$((GPUS < 32 ? 32 / GPUS : 1))

train() {
    local launch=(torchrun --standalone --nproc-per-node "$GPUS" -m slmtk)
    [[ -z $DRY_RUN ]] || launch=(slmtk)
    run "${launch[@]}" train "$@" --head linear --fusion mean --text-weight 0.2 --speech-weight 0.8 \
        --batch-size 1 --accumulation "$ACCUMULATION" --epochs "$EPOCHS" --learning-rate 5e-4 --schedule cosine \
        --warmup 0.03 --weight-decay 0 --precision bf16 --max-tokens 32768 --gradient-checkpointing
}

tokenize() { run slmtk tokenize "$@" --codec facodec; }

score() { run slmtk eval-wer "$@" --recognizer transformers --recognizer-model "$RECOGNIZER"; }

# Every sentence of test-clean, in the voice of the speaker's next recording.
write_lines() {
    mkdir -p "$OUT"
    python - "$DATA/LibriTTS/test-clean" "$OUT/test-clean.jsonl" <<'PYTHON'
import json, sys
from pathlib import Path

from slmtk.corpus import find_utterances

by_speaker = {}
for utterance in find_utterances(Path(sys.argv[1])).utterances:
    by_speaker.setdefault(utterance.speaker, []).append(utterance)
with open(sys.argv[2], "w", encoding="utf-8") as file:
    for group in by_speaker.values():
        for utterance, other in zip(group, group[1:] + group[:1]):
            line = {"id": utterance.id, "text": utterance.text, "reference": str(other.path.resolve())}
            print(json.dumps(line, ensure_ascii=False), file=file)
PYTHON
}

# Which question each answer belongs to, from the column that was kept beside the codes.
write_questions() {
    python - "$OUT/codes/roletrivia" "$QA_QUESTION" "$OUT/questions.jsonl" <<'PYTHON'
import json, sys
from pathlib import Path

from slmtk.shards import open_codes

with open(sys.argv[3], "w", encoding="utf-8") as file:
    for row in open_codes(Path(sys.argv[1])).rows():
        print(json.dumps({"id": row.id, "question": row.extra[sys.argv[2]]}, ensure_ascii=False), file=file)
PYTHON
}

tts() {
    say "LibriTTS -> codes -> training set"
    local part codes=()
    for part in train-clean-100 train-clean-360 train-other-500; do
        tokenize "$DATA/LibriTTS/$part" "$OUT/codes/$part"
        codes+=("$OUT/codes/$part")
    done
    tokenize "$DATA/LibriTTS/test-clean" "$OUT/codes/test-clean"
    run slmtk build-dataset "${codes[@]}" "$OUT/datasets/libritts" --tokenizer "$BASE"

    say "The ceiling: recordings, and recordings through the codec"
    score "$DATA/LibriTTS/test-clean" --out "$OUT/scores/recordings"
    score "$DATA/LibriTTS/test-clean" "$OUT/codes/test-clean" --out "$OUT/scores/codec"

    [[ -n $DRY_RUN ]] || write_lines
    # MTP decodes greedily without a repetition penalty, NTP with 1.2: what synth does by itself.
    model ntp --layout interleaved --no-speaker-aware
    model mtp-3h --layout grouped --frames-per-step 1 --no-speaker-aware
    model mtp-6h --layout grouped --frames-per-step 2 --no-speaker-aware
    model mtp-12h --layout grouped --frames-per-step 4 --no-speaker-aware
    model mtp-12h-speaker --layout grouped --frames-per-step 4 --speaker-aware
}

# Train a model, let it read test-clean aloud, score it: model NAME TRAIN-OPTION...
model() {
    local name=$1
    shift
    say "$name"
    train "$OUT/datasets/libritts" "$OUT/models/$name" --base "$BASE" "$@"
    run slmtk synth "$OUT/test-clean.jsonl" "$OUT/speech/$name" --model "$OUT/models/$name" \
        --max-seconds "$MAX_SECONDS" --no-split-long --batch-size 16
    score "$DATA/LibriTTS/test-clean" "$OUT/speech/$name" --out "$OUT/scores/$name"
}

qa() {
    local options=(--layout grouped --frames-per-step 4 --speaker-aware)
    say "Emilia: what sounds good -> pre-training"
    tokenize "$DATA/Emilia/EN" "$OUT/codes/emilia" --min-dnsmos 3.5
    run slmtk build-dataset "$OUT/codes/emilia" "$OUT/datasets/emilia" --tokenizer "$QA_BASE"
    train "$OUT/datasets/emilia" "$OUT/models/emilia" --base "$QA_BASE" "${options[@]}"

    say "RoleTriviaQA: spoken answers -> fine-tuning"
    tokenize "$QA_DATA" "$OUT/codes/roletrivia" --split "$QA_SPLIT" --text-column "$QA_TEXT" --audio-column "$QA_AUDIO" \
        --speaker-column "$QA_SPEAKER" --keep-column "$QA_QUESTION"
    [[ -n $DRY_RUN ]] || write_questions
    run slmtk build-dataset "$OUT/codes/roletrivia" "$OUT/datasets/roletrivia" --tokenizer "$QA_BASE" \
        --questions "$OUT/questions.jsonl"
    train "$OUT/datasets/roletrivia" "$OUT/models/roletrivia" --base "$OUT/models/emilia" "${options[@]}"

    say "RoleTriviaQA: answers to questions that were kept back"
    run slmtk roletrivia-bench "$QA_BENCH" "$OUT/roletrivia" --model "$OUT/models/roletrivia" \
        --recognizer transformers --recognizer-model "$RECOGNIZER" --max-seconds "$MAX_SECONDS"
}

for part in $PARTS; do
    case $part in
        tts | qa) "$part" ;;
        *) echo "paper: no part '$part'; PARTS may hold tts and qa" >&2 && exit 2 ;;
    esac
done
