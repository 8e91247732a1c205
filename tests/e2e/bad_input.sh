#!/bin/bash
# What cannot work is refused with exactly one line that names the thing, a non-zero exit, and nothing left mounted.
source "$(dirname "$0")/lib.sh"
need_root
need_fuse

mounts() { awk '{ print $5, $9 }' /proc/self/mountinfo | grep -F "$WORK" || true; }
MOUNTS_BEFORE=
FAILED=0

wrong() {
  say "$*"
  FAILED=1
}

refused() {  # PATTERN COMMAND...
  local pattern=$1 code=0 lines
  shift
  timeout 20 "$@" >"$WORK/out" 2>"$WORK/err" || code=$?
  ((code != 0)) || wrong "$*: was not refused"
  ((code != 124)) || wrong "$*: did not end"
  ((code < 126)) || wrong "$*: ended with code $code"
  [[ ! -s $WORK/out ]] || wrong "$*: prints '$(cat "$WORK/out")' on standard output"
  lines=$(wc -l <"$WORK/err")
  ((lines == 1)) || wrong "$*: $lines lines on standard error, not one: $(cat "$WORK/err")"
  grep -q -i -e "$pattern" "$WORK/err" || wrong "$*: '$(cat "$WORK/err")' says nothing of '$pattern'"
  [[ $(mounts) == "$MOUNTS_BEFORE" ]] || fail "$*: left mounted: $(mounts)"
}
refused_mount() {  # PATTERN [OPTION...]
  local pattern=$1
  shift
  refused "$pattern" "$SLUICE" mount "$@" "$WORK/source" "$WORK/mount"
  refused "$pattern" "$SLUICE" mount --foreground "$@" "$WORK/source" "$WORK/mount"
}

wrong_directories() {
  refused "'$WORK/nothing' does not exist" "$SLUICE" mount "$WORK/nothing" "$WORK/mount"
  refused "'$WORK/file' is not a directory" "$SLUICE" mount "$WORK/file" "$WORK/mount"
  refused "'$WORK/nothing' does not exist" "$SLUICE" serve --http 127.0.0.1:0 "$WORK/nothing"
  refused "'$WORK/file' is not a directory" "$SLUICE" serve --http 127.0.0.1:0 "$WORK/file"
  refused "'$WORK/full' is not empty" "$SLUICE" mount "$WORK/source" "$WORK/full"
  refused "'$WORK/nothing' does not exist" "$SLUICE" mount "$WORK/source" "$WORK/nothing"
  refused "'$WORK/file' is not a directory" "$SLUICE" mount "$WORK/source" "$WORK/file"
}

wrong_options() {
  refused_mount "cache-size.*'12Q'" --cache-size 12Q
  refused_mount "cache-size" --cache-size -1
  refused_mount "cache-size" --cache-size ''
  refused_mount "cache-size.*1K" --cache-size 1K
  refused_mount "cache-size.*1000T" --cache-size 1000T
  refused_mount "cache.sise" --cache-sise 64M
  refused_mount "cache.sise.*cache-size" -o cache_sise=64M
  refused_mount "cache.size" -o cache_size
  refused_mount "'sometimes'" --attr-timeout sometimes
  refused_mount "'magic'" --send-method magic
  refused_mount "'99999'\|:99999\|99999" --http 127.0.0.1:99999
  refused_mount "http" --http nonsense:here
  refused_mount "http-prefix" --http 127.0.0.1:0 --http-prefix nonsense
  refused_mount "http-allow" --http 127.0.0.1:0 --http-allow 10.0.0.1/8
  refused_mount "http-index" --http 127.0.0.1:0 --http-index a/b
  refused_mount "http-cache-control" --http 127.0.0.1:0 --http-cache-control $'a\nb: c'
  refused_mount "http-dotfiles" --http 127.0.0.1:0 --http-dotfiles maybe
  refused_mount "no_such_user_here" --http 127.0.0.1:0 --http-user no_such_user_here
  refused_mount "root" --http 127.0.0.1:0 --http-user root
  refused_mount "$WORK/nothing.conf" --config "$WORK/nothing.conf"
  printf 'cache-size = 64M\nno-such-key = 1\n' >"$WORK/bad.conf"
  refused_mount "$WORK/bad.conf:2.*no-such-key" --config "$WORK/bad.conf"
}

wrong_words() {
  refused "monut" "$SLUICE" monut "$WORK/source" "$WORK/mount"
  refused "SOURCE MOUNTPOINT" "$SLUICE" mount "$WORK/source"
  refused "SOURCE MOUNTPOINT" "$SLUICE" mount "$WORK/source" "$WORK/mount" "$WORK/more"
  refused "serve" "$SLUICE" serve "$WORK/source"
  refused "'$WORK/mount' is not mounted" "$SLUICE" umount "$WORK/mount"
  refused "/proc" "$SLUICE" umount /proc
  refused "'$WORK/mount'" "$SLUICE" status "$WORK/mount"
}

what_is_taken() {
  local port
  start_mount --http 127.0.0.1:0 "$WORK/source" "$WORK/mounted"
  MOUNTS_BEFORE=$(mounts)
  port=${HTTP##*:}
  refused "'$WORK/mounted' is already mounted" "$SLUICE" mount "$WORK/source" "$WORK/mounted"
  refused_mount "127.0.0.1:$port is in use" --http "127.0.0.1:$port"
  refused "127.0.0.1:$port is in use" "$SLUICE" serve --http "127.0.0.1:$port" "$WORK/source"
  refused_mount "192.0.2.1" --http 192.0.2.1:8080
  equal "the first gateway still serves" "$(curl -sS "$HTTP/file")" content
  stop_gateway
  MOUNTS_BEFORE=$(mounts)
}

# In a mount namespace of its own: /dev/fuse on a file system that allows no devices, and no /dev/fuse at all.
without_fuse() {
  if ! unshare --mount true 2>/dev/null; then
    say "no mount namespaces here: a missing /dev/fuse is not looked at"
    return
  fi
  cat >"$WORK/forbidden" <<'TEXT'
mount -t tmpfs -o nodev none "$1/dev" && mknod "$1/dev/fuse" c 10 229 && mount --bind "$1/dev/fuse" /dev/fuse || exit 99
shift
exec "$@"
TEXT
  cat >"$WORK/missing" <<'TEXT'
mount -t tmpfs none "$1/dev" && touch "$1/dev/null" && mount --bind /dev/null "$1/dev/null" && mount --move "$1/dev" /dev ||
  { mount --bind "$1/dev" /dev || exit 99; }
shift
exec "$@"
TEXT
  mkdir "$WORK/dev"
  refused "/dev/fuse: .*ermission" unshare --mount sh "$WORK/forbidden" "$WORK" "$SLUICE" mount "$WORK/source" "$WORK/mount"
  refused "/dev/fuse is missing" unshare --mount sh "$WORK/missing" "$WORK" "$SLUICE" mount "$WORK/source" "$WORK/mount"
}

for_users() {
  local -a nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
  "${nobody[@]}" test -x "$SLUICE" || { say "nobody may not run $SLUICE: a user's mistakes are not looked at"; return; }
  chmod 700 "$WORK/closed"
  refused "'$WORK/closed'" "${nobody[@]}" "$SLUICE" mount "$WORK/closed" "$WORK/mount"
  refused "'$WORK/mount'" "${nobody[@]}" "$SLUICE" mount "$WORK/source" "$WORK/mount"
  refused "http-user" "${nobody[@]}" "$SLUICE" serve --http 127.0.0.1:0 --http-user daemon "$WORK/source"
}

mkdir "$WORK/source" "$WORK/mount" "$WORK/mounted" "$WORK/full" "$WORK/closed"
echo content >"$WORK/source/file"
touch "$WORK/file" "$WORK/full/something"
wrong_directories
wrong_options
wrong_words
what_is_taken
without_fuse
for_users
exit "$FAILED"
