#!/bin/bash
# A client that stops reading while others push the whole cache out several times over still receives exact bytes, by every
# way of sending and of knowing when memory may be used again; and that way carried at least 95 % of the bytes.
source "$(dirname "$0")/lib.sh"

readonly kSlow=$((48 << 20)) kOther=$((24 << 20))

# One reads slowly; three read the other files until the slow one has paused long enough and the cache was filled
# with other things four times.
run_clients() {
  run_python - "$HTTP" "$kSlow" "$kOther" <<'PYTHON'
import multiprocessing, sys, time
import lib_http
http, slow_size, other_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CHURN = 4 * (32 << 20)

def churn(number, stop, churned):
    while not stop.is_set():
        for i in range(3):
            seed = 10 + (number + i) % 3
            response = lib_http.Response(f"{http}/other{seed}")
            response.judge(seed, 0)
            response.close()
            with churned.get_lock():
                churned.value += other_size

stop, churned = multiprocessing.Event(), multiprocessing.Value("q", 0)
slow = lib_http.Response(f"{http}/slow")
offset = slow.judge(1, 0, 1 << 20)
others = [multiprocessing.Process(target=churn, args=(n, stop, churned)) for n in range(3)]
for other in others:
    other.start()
started = time.monotonic()
while time.monotonic() < started + 2 or churned.value < CHURN:
    if not all(other.is_alive() for other in others) or time.monotonic() > started + 30:
        sys.exit("the other clients got wrong bytes or none")
    time.sleep(0.05)
slow.judge(1, offset)
stop.set()
for other in others:
    other.join()
    if other.exitcode != 0:
        sys.exit("another client got wrong bytes")
PYTHON
}

try_method() {  # METHOD [OPTION...]
  local method=$1 sent carried
  shift
  start_serve --cache-size 32M --send-pinned-max 1G --send-method "$method" "$@" "$WORK/source"
  run_clients || fail "--send-method $method $*: wrong bytes"
  sent=$(status send)
  carried=$(field "${method}_bytes" <<<"$sent")
  local all=$(($(field copy_bytes <<<"$sent") + $(field vmsplice_bytes <<<"$sent") + $(field zerocopy_bytes <<<"$sent")))
  at_least "bytes that were sent by --send-method $method $*" "$all" "$kSlow"
  at_least "bytes that --send-method $method $* carried, of $all" "$carried" $((all * 95 / 100))
  stop_gateway
}

mkdir "$WORK/source"
run_python "$E2E/lib_pattern.py" make "$WORK/source/slow" "$kSlow" 1
for seed in 10 11 12; do run_python "$E2E/lib_pattern.py" make "$WORK/source/other$seed" "$kOther" "$seed"; done
try_method copy
try_method vmsplice
try_method vmsplice --release-proof replace
try_method zerocopy
