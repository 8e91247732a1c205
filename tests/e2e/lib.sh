# shellcheck shell=bash
# What every script here starts from: a directory of its own on a disk, gateways under watch, and an end that leaves
# nothing behind, however the script ends.
#
#   source "$(dirname "$0")/lib.sh"
#   mkdir "$WORK/source" "$WORK/mount"
#   start_mount --cache-size 64M --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
#   equal "hits of a new cache" "$(status cache.hits)" 0
#   stop_gateway
#
# A script proves one behaviour, takes less than 30 seconds and says nothing when all is well. It ends with 0, with 77 when
# this machine cannot show the behaviour (one line says why), and else with one line that names what was wrong. Nothing
# waits for time to pass: conditions are polled, with a deadline.
set -euo pipefail

: "${SLUICE:?the path of the sluice binary}"
SLUICE=$(realpath "$SLUICE")
E2E=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
PYTHON=/usr/bin/python3
[[ -x $PYTHON ]] || PYTHON=python3
export PYTHONPATH=$E2E PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C.UTF-8 no_proxy='*'
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY XDG_RUNTIME_DIR

WORK=              # this script's directory
GATEWAY=           # process of the gateway started last
TARGET=            # its mountpoint, or the control socket of one without
HTTP=              # where it exports: http://127.0.0.1:PORT
# Of every gateway. Exported, as clients that look at the backing have to ask for an fsync before when writes are delayed.
export WRITE_MODE=${WRITE_MODE-through}
read -ra GATEWAY_OPTIONS <<<"${GATEWAY_OPTIONS-}"  # the same, more of them
DAEMON_PREFIX=()   # put before the command line of every gateway, ends in exec
GATEWAYS=()        # processes that were started and not yet waited for
declare -A TARGET_OF=() LOG_OF=()
JOBS_OF_OURS=()    # clients in the background, see `background`
OWN_DISKS=()
CGROUP=

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
fail() { say "$*"; exit 1; }
skip() { say "skipped: $*"; exit 77; }

need() {  # TOOL...
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
  done
}
need_root() { [[ $EUID == 0 ]] || skip "only root can do this"; }
need_fuse() { (: <>/dev/fuse) 2>/dev/null || skip "/dev/fuse cannot be opened"; }

equal() { [[ $2 == "$3" ]] || fail "$1: got '$2', expected '$3'"; }          # WHAT GOT EXPECTED
different() { [[ $2 != "$3" ]] || fail "$1: both are '$2'"; }                # WHAT ONE OTHER
at_most() { (($2 <= $3)) || fail "$1: $2 is more than $3"; }                 # WHAT GOT LIMIT
at_least() { (($2 >= $3)) || fail "$1: $2 is less than $3"; }                # WHAT GOT LIMIT
same_bytes() { cmp -- "$1" "$2" >&2 || fail "$1 and $2 differ"; }
empty() { [[ -z $2 ]] || fail "$1: $(head -n 5 <<<"$2")"; }                   # WHAT TEXT

# Sluice ends with this code and one line on standard error that matches; nothing on standard output.
refuses() {  # CODE PATTERN ARGUMENT...
  local code=$1 pattern=$2 got=0
  shift 2
  "$SLUICE" "$@" >"$WORK/out" 2>"$WORK/err" || got=$?
  equal "exit code of '$*'" "$got" "$code"
  equal "lines on standard error of '$*'" "$(wc -l <"$WORK/err")" 1
  empty "standard output of '$*'" "$(cat "$WORK/out")"
  grep -q -e "$pattern" "$WORK/err" || fail "$*: '$(cat "$WORK/err")' says nothing of '$pattern'"
}

wait_until() {  # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# --- gateways -------------------------------------------------------------------------------------------------------

# A field of a gateway's status, for example "disk.reads"; "" is the whole object.
status() {  # FIELD [TARGET]
  "$SLUICE" status --json "${2:-$TARGET}" | field "$1"
}
field() {  # FIELD <JSON
  "$PYTHON" -c '
import json, sys
value = json.load(sys.stdin)
for key in filter(None, sys.argv[1].split(".")):
    value = value[key]
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

is_mounted() {  # PATH
  findmnt --kernel --noheadings --output TARGET --mountpoint "$1" >/dev/null 2>&1
}
is_alive() { kill -0 "$1" 2>/dev/null; }  # PROCESS
has_ended() { ! is_alive "$1"; }
answers() { "$SLUICE" status --json "$1" >/dev/null 2>&1; }  # TARGET
answers_or_ended() { answers "$TARGET" || has_ended "$GATEWAY"; }

# With WRITE_MODE=back: waits until the backing has everything for good.
all_is_written() {
  [[ $WRITE_MODE != back ]] || wait_until 30 is_clean || fail "not all is written: $(status write_back)"
}
is_clean() { [[ $(status write_back.files) == 0 ]]; }

start_mount() {  # [OPTION...] SOURCE MOUNTPOINT
  need_fuse
  TARGET=$(realpath "${!#}")
  launch mount --foreground "$@"
}
start_serve() {  # [OPTION...] SOURCE
  TARGET=$WORK/serve.${#LOG_OF[@]}.sock
  launch serve --http 127.0.0.1:0 --control "$TARGET" "$@"
}
launch() {  # COMMAND [ARGUMENT...]
  [[ $WRITE_MODE != back ]] || set -- "$1" --write-mode back "${@:2}"
  set -- "$1" "${GATEWAY_OPTIONS[@]}" "${@:2}"
  local log=$WORK/log.${#LOG_OF[@]}
  "${DAEMON_PREFIX[@]}" "$SLUICE" "$@" </dev/null >"$log" 2>&1 &
  GATEWAY=$!
  GATEWAYS+=("$GATEWAY")
  TARGET_OF[$GATEWAY]=$TARGET
  LOG_OF[$GATEWAY]=$log
  echo "$GATEWAY" >>"$WORK/pids"
  wait_until 20 answers_or_ended || fail "sluice $*: does not answer after 20 s"
  has_ended "$GATEWAY" && fail "sluice $*: ended while starting"
  HTTP=$(status '' | "$PYTHON" -c 'import json, sys; print((json.load(sys.stdin)["http"] or {}).get("address", ""))')
  [[ -z $HTTP ]] || HTTP=http://$HTTP
}

# Ends the gateway started last, which must end well.
stop_gateway() { end_gateway "$GATEWAY" || fail "the gateway did not end well"; }

end_gateway() {  # PROCESS
  local target=${TARGET_OF[$1]} code=0
  if is_alive "$1"; then
    if is_mounted "$target"; then
      timeout 45 "$SLUICE" umount "$target" || code=$?
    else
      kill -TERM "$1" 2>/dev/null
      wait_until 20 has_ended "$1" || code=$?
    fi
    if ((code != 0)); then
      say "the gateway at $target does not stop"
      kill -KILL "$1"
    fi
  fi
  await_end "$1" || code=$?
  ((code == 0)) || return "$code"
  if is_mounted "$target"; then
    say "$target is still mounted"
    return 1
  fi
}

# Waits for a gateway that is ending by itself. Returns its exit code.
await_end() {  # PROCESS
  local code=0 gateway left=()
  wait "$1" || code=$?
  for gateway in "${GATEWAYS[@]}"; do
    [[ $gateway == "$1" ]] || left+=("$gateway")
  done
  GATEWAYS=("${left[@]}")
  ((code == 0)) || say "the gateway at ${TARGET_OF[$1]} ended with code $code"
  return "$code"
}

open_descriptors() { find "/proc/${1:-$GATEWAY}/fd" -mindepth 1 2>/dev/null | wc -l; }

# --- clients --------------------------------------------------------------------------------------------------------

background() {  # COMMAND...; sets JOB
  "$@" &
  JOB=$!
  JOBS_OF_OURS+=("$JOB")
}

run_python() { "$PYTHON" "$@"; }
http_code() { curl -sS -o /dev/null -w '%{http_code}' "$@"; }
http_header() {  # NAME CURL-ARGUMENT...
  local name=$1
  shift
  curl -sS -o /dev/null -D - "$@" | tr -d '\r' | sed -n "s/^$name: //Ip"
}

# Pages of these files in the kernel's page cache.
resident_pages() { fincore --noheadings --output PAGES -- "$@" | awk '{ pages += $1 } END { print pages + 0 }'; }
# Out of the page cache, so that what is there afterwards was put there by somebody else.
forget_pages() {
  local file
  for file in "$@"; do
    sync -- "$file"
    dd if="$file" iflag=nocache count=0 status=none
  done
}
fields_of_io() { sed -n "s/^$1: //p" "/proc/$GATEWAY/io"; }  # read_bytes | write_bytes

# Where the clock that stamps files may be another machine's, files changed less than 2 s ago are not trusted, and read
# again at the next open. For tests of something else: waits until these are older.
let_settle() {  # PATH...
  [[ ${E2E_BACKING-} != fuse ]] || wait_until 5 are_settled "$@" || fail "$*: the stamps do not grow old"
}
are_settled() { [[ -z $(find "$@" -type f -newerct '3 seconds ago' -print -quit) ]]; }

same_tree() {  # ONE OTHER
  empty "rsync from $1 to $2 would change" "$(rsync -aHAXn --checksum --delete --itemize-changes "$1/" "$2/" 2>&1)"
  empty "rsync from $2 to $1 would change" "$(rsync -aHAXn --checksum --delete --itemize-changes "$2/" "$1/" 2>&1)"
}

# A file system of its own for thousands of files: where the disk is mounted with `discard`, removing them one by one takes
# minutes. A plain directory where that cannot be had.
own_disk() {  # DIRECTORY SIZE
  mkdir "$1"
  [[ $EUID == 0 ]] && truncate -s "$2" "$1.image" && mkfs.ext4 -q -b 4096 -i 4096 "$1.image" 2>/dev/null || return 0
  if mount -o loop,nodiscard "$1.image" "$1" 2>/dev/null; then OWN_DISKS+=("$1"); fi
}

# --- memory of a gateway alone --------------------------------------------------------------------------------------

# Makes a memory group and lets every gateway from now on start in it. Fails where there are none to be had.
use_memory_group() {
  local root=/sys/fs/cgroup/memory
  [[ -e /sys/fs/cgroup/cgroup.controllers ]] && root=/sys/fs/cgroup
  CGROUP=$root/sluice_e2e.$$
  if ! mkdir "$CGROUP" 2>/dev/null; then
    CGROUP=
    return 1
  fi
  memory_peak >/dev/null 2>&1 || return 1
  DAEMON_PREFIX=(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$CGROUP")
}
memory_now() {
  if [[ -e $CGROUP/memory.usage_in_bytes ]]; then cat "$CGROUP/memory.usage_in_bytes"; else cat "$CGROUP/memory.current"; fi
}
memory_peak() {
  if [[ -e $CGROUP/memory.max_usage_in_bytes ]]; then cat "$CGROUP/memory.max_usage_in_bytes"; else cat "$CGROUP/memory.peak"; fi
}

# --- the beginning and the end --------------------------------------------------------------------------------------

make_work() {
  local parent=${TMPDIR:-/var/tmp}
  if [[ -z ${E2E_BACKING-} ]]; then  # which tools/test-backings chose
    is_memory "$parent" && parent=/var/tmp
    is_memory "$parent" && skip "$parent is in memory; set TMPDIR to a directory on a disk"
  fi
  WORK=$(mktemp -d "$(realpath "$parent")/sluice_e2e.XXXXXX")
  chmod 755 "$WORK"  # other users' clients come here too
  mkfifo "$WORK/never"
  : >"$WORK/pids"
}
is_memory() { case $(stat -f -c %T "$1") in tmpfs | ramfs) return 0 ;; *) return 1 ;; esac }

# A client of a gateway that hangs cannot be ended. So end the gateway, then the script.
watch_over() {
  local code=0
  read -r -t "${E2E_SECONDS:-200}" <>"$WORK/never" || code=$?
  ((code > 128)) || return 0
  say "not done after ${E2E_SECONDS:-200} s"
  xargs -r kill -KILL <"$WORK/pids" 2>/dev/null || true
  kill -TERM $$
}

cleanup() {
  local code=$? gateway job path
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  cd /
  for job in "${JOBS_OF_OURS[@]}"; do  # a function's commands outlive its shell, and keep who reads our output waiting
    pkill -TERM -P "$job"
    kill "$job" 2>/dev/null
  done
  for gateway in "${GATEWAYS[@]}"; do
    end_gateway "$gateway" || { ((code != 0)) || code=1; }
  done
  kill "$WATCHER" 2>/dev/null
  for path in "${OWN_DISKS[@]}"; do wait_until 5 umount "$path" 2>/dev/null; done
  while read -r path; do
    umount -l "$(printf '%b' "$path")"
    ((code != 0)) || { say "$path was left mounted"; code=1; }
  done < <(awk -v work="$WORK/" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo | tac)
  if ((code != 0 && code != 77)); then tail -n 25 "$WORK"/log.* 2>/dev/null | sed 's/^/    /' >&2; fi
  [[ -z $CGROUP ]] || wait_until 5 rmdir "$CGROUP" 2>/dev/null
  rm -rf --one-file-system -- "$WORK"
  exit "$code"
}

make_work
watch_over </dev/null &
WATCHER=$!
trap cleanup EXIT
trap 'exit 143' INT TERM HUP
need "$PYTHON" curl findmnt
