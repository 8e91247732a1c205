#!/bin/bash
# libnfs's own programs list, read and copy what is exported: a client that shares no code with Linux's.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need nfs-ls nfs-cat nfs-cp

readonly kSizes=(0 1 4095 4096 4097 1048575 1048576 20971520)

mkdir -p "$WORK/source/folder/below" "$WORK/source/many" "$WORK/got"
for size in "${kSizes[@]}"; do head -c "$size" /dev/urandom >"$WORK/source/$size"; done
printf x >"$WORK/source/a b"
printf x >"$WORK/source/$(printf 'n%.0s' {1..255})"
cp "$WORK/source/4095" "$WORK/source/folder/below/file"
ln -s 4096 "$WORK/source/link"
touch "$WORK/source/many/"{1..3000}
chmod -R a+rwX "$WORK/source"  # whoever calls is squashed

choose_nfs_port
start_nfs_server "${NFS_AT_ONCE[@]}" "$WORK/source" "$NFS_PORT"
# libnfs mounts the directory itself, or the file's: what precedes the last slash. So a file at the top needs two of them.
url() { echo "nfs://127.0.0.1/$1?version=3&nfsport=$NFS_PORT&mountport=$NFS_PORT"; }

# nfs-ls prints mode, links, owner, group, size and name.
names() { timeout 20 nfs-ls "$@" | sed -E 's/^([^ ]+ +){5}//' | sort; }
equal "names" "$(names "$(url '')")" "$(find "$WORK/source" -mindepth 1 -maxdepth 1 -printf "%f\n" | sort)"
equal "names in a directory of many" "$(names "$(url many)")" "$(find "$WORK/source/many" -type f -printf "%f\n" | sort)"
equal "names below" "$(timeout 20 nfs-ls -R "$(url folder)" | awk '{ print $NF }' | sort | xargs)" "below below/file"
for size in "${kSizes[@]}"; do
  said=$(timeout 20 nfs-ls "$(url '')" | awk -v name="$size" '$NF == name { print $1, $2, $3, $4, $5 }')
  equal "what nfs-ls says of $size" "$said" "$(stat -c '%A %h %u %g %s' "$WORK/source/$size")"
done

for size in "${kSizes[@]}"; do
  timeout 30 nfs-cat "$(url "/$size")" >"$WORK/got/$size" || fail "nfs-cat of $size bytes"
  same_bytes "$WORK/got/$size" "$WORK/source/$size"
  timeout 30 nfs-cp "$(url "/$size")" "$WORK/got/from.$size" >/dev/null || fail "nfs-cp of $size bytes from the export"
  same_bytes "$WORK/got/from.$size" "$WORK/source/$size"
  timeout 30 nfs-cp "$WORK/source/$size" "$(url "/to.$size")" >/dev/null || fail "nfs-cp of $size bytes to the export"
  same_bytes "$WORK/source/to.$size" "$WORK/source/$size"
done
timeout 20 nfs-cat "$(url folder/below/file)" | cmp - "$WORK/source/4095" || fail "nfs-cat of a file below"
timeout 20 nfs-cat "$(url '/a b')" | cmp - "$WORK/source/a b" || fail "nfs-cat of a name with a space"
timeout 20 nfs-cat "$(url /link)" | cmp - "$WORK/source/4096" || fail "nfs-cat through a symbolic link"
timeout 20 nfs-cp "$(url /4096)" "$(url folder/copied)" >/dev/null || fail "nfs-cp within the export"
same_bytes "$WORK/source/folder/copied" "$WORK/source/4096"

refused() {  # PATTERN COMMAND...
  local pattern=$1 said
  shift
  said=$(timeout 20 "$@" 2>&1 >/dev/null) && fail "$*: is not refused"
  [[ $said == *"$pattern"* ]] || fail "$*: says '$said', nothing of $pattern"
}
refused NFS3ERR_NOENT nfs-cat "$(url /missing)"
refused MNT3ERR nfs-cat "$(url missing/file)"
refused NFS3ERR_NOENT nfs-cp "$(url /missing)" "$WORK/got/missing"
refused "" nfs-ls "$(url missing)"
refused "" nfs-cat "$(url 4096/file)"
chmod 600 "$WORK/source/4095"
if [[ $EUID == 0 ]]; then refused "ACCESS denied" nfs-cat "$(url /4095)"; fi
stop_gateway
