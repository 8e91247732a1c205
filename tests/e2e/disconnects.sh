#!/bin/bash
# Clients that stop reading, take one byte at a time and leave in the middle, while files change and the cache is pushed out,
# get bytes of the right file, offset and one generation of it, by every send method forced in turn. They leave nothing
# behind: no descriptors, no connections, no memory. DISCONNECTS=100000 makes a campaign of it (1000 for each method
# otherwise), METHODS chooses the methods. A gateway with a sanitizer keeps some of what it frees: SLACK_MIB=64.
source "$(dirname "$0")/lib.sh"

readonly kCache=32 kMiB=$((1 << 20))
readonly kDisconnects=${DISCONNECTS:-1000}

clients() { run_python "$E2E/lib_disconnects.py" run "$HTTP" "$WORK/source" "$WORK/mount" "$@"; }  # COUNT
no_connections() { [[ $(status http.connections_open) == 0 ]]; }
descriptors_are_back() { (($(open_descriptors) <= descriptors)); }
# What cools is looked at when memory is wanted, so it is wanted.
read_all() { cat "$WORK"/mount/file* >/dev/null; }
charge_is_back() {
  read_all
  (($(memory_now) <= charge + ${SLACK_MIB:-4} * kMiB))
}
# Cooled memory is looked at when memory is wanted, so what the last reply left may cool on; nothing else may, and the cache
# must be able to fill.
memory_is_usable() {
  at_most "$1: frames that cool" "$(status arena.frames_cooling)" $(((5 << 20) / 4096))
  at_least "$1: memory that holds files" "$(status cache.resident_bytes)" $((kCache * kMiB * 8 / 10))
}

has_groups=true
use_memory_group || has_groups=false
mkdir "$WORK/source" "$WORK/mount"
run_python "$E2E/lib_disconnects.py" make "$WORK/source"
for method in ${METHODS:-copy vmsplice zerocopy}; do
  start_mount --cache-size "${kCache}M" --send-method "$method" --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
  # What is kept for reuse is there after some clients. Memory that was replaced under them is the system's until it is
  # used again, so one look may show less than there is.
  charge=0
  for _ in 1 2 3; do
    clients 100 >/dev/null || fail "$method: not even 100 clients"
    wait_until 10 no_connections || fail "$method: $(status http.connections_open) connections are left"
    read_all
    ! $has_groups || charge=$(($(memory_now) > charge ? $(memory_now) : charge))
  done
  descriptors=$(open_descriptors)
  seen=$(clients "$kDisconnects") || fail "$method: $seen"
  [[ -z ${DISCONNECTS-} ]] || say "$method: $seen"
  wait_until 10 no_connections || fail "$method: $(status http.connections_open) connections are left"
  wait_until 10 descriptors_are_back || fail "$method: $(open_descriptors) descriptors, $descriptors before"
  if $has_groups; then
    wait_until 10 charge_is_back || fail "$method: $(memory_now) bytes are charged, $charge before"
  else
    read_all
  fi
  memory_is_usable "$method"
  carried=$(status "send.${method}_bytes")
  at_least "$method: bytes that it carried" "$carried" $((kDisconnects * 64 << 10))
  stop_gateway
done
