#!/bin/bash
# An ordinary user mounts his own directory with the help of fusermount3, works in it, and unmounts it; nobody else can look in.
# Where users may not open /dev/fuse, the test has one of its own, in a mount namespace.
source "$(dirname "$0")/lib.sh"
need_root
need_fuse
need fusermount3 setpriv
[[ -u $(command -v fusermount3) ]] || skip "fusermount3 is not set-user-id here"
[[ -e /etc/mtab ]] || skip "fusermount3 cannot unmount without /etc/mtab"

readonly kUser=65534
as_user() { setpriv --reuid "$kUser" --regid "$kUser" --clear-groups env -u XDG_RUNTIME_DIR HOME="$WORK/home" "$@"; }
gone() { ! is_mounted "$WORK/home/mount"; }

if ! as_user sh -c ': <>/dev/fuse' 2>/dev/null; then
  [[ -z ${OWN_DEVICE:-} ]] || skip "users cannot open a /dev/fuse of our own either"
  unshare --mount true 2>/dev/null || skip "users cannot open /dev/fuse, and there are no mount namespaces"
  mknod -m 666 "$WORK/fuse" c 10 229
  code=0
  OWN_DEVICE=1 unshare --mount sh -c 'mount --bind "$1" /dev/fuse && exec bash "$2"' sh "$WORK/fuse" "$0" || code=$?
  exit "$code"
fi

cp "$SLUICE" "$WORK/sluice"  # where the user may run it
chmod 755 "$WORK/sluice"
mkdir -p "$WORK/home/source" "$WORK/home/mount"
echo content >"$WORK/home/source/file"
chown -R "$kUser:$kUser" "$WORK/home"
SLUICE=$WORK/sluice
had_directory=$([[ -e /tmp/sluice-$kUser ]] && echo yes || echo no)

works_for_the_user() {
  as_user "$SLUICE" mount --cache-size 16M --http 127.0.0.1:0 "$WORK/home/source" "$WORK/home/mount" || fail "a user cannot mount"
  PROCESS=$(as_user "$SLUICE" status --json "$WORK/home/mount" | field pid)
  echo "$PROCESS" >>"$WORK/pids"
  equal "owner of the gateway" "$(stat -c %u "/proc/$PROCESS")" "$kUser"
  equal "the file" "$(as_user cat "$WORK/home/mount/file")" content
  as_user sh -c 'cd "$1" && mkdir d && echo new >d/new && mv d/new d/newer && chmod 600 d/newer && ln -s newer d/link' sh \
    "$WORK/home/mount" || fail "the user cannot write"
  equal "what he wrote, on the backing" "$(stat -c '%u %a %s' "$WORK/home/source/d/newer")" "$kUser 600 4"
  local address
  address=$(as_user "$SLUICE" status --json "$WORK/home/mount" | field http.address)
  equal "his own file by HTTP" "$(curl -sS "http://$address/d/newer")" new
  if stat "$WORK/home/mount/file" >/dev/null 2>&1; then fail "another user can look in"; fi
}

mounts_and_umounts_by() {  # COMMAND...
  works_for_the_user
  as_user "$@" "$WORK/home/mount" || fail "$*: a user cannot unmount"
  wait_until 20 gone || fail "$*: still mounted"
  wait_until 20 has_ended "$PROCESS" || fail "$*: the gateway stays"
  rm -r "$WORK/home/source/d"
}

mounts_and_umounts_by "$SLUICE" umount
mounts_and_umounts_by fusermount3 -u
works_for_the_user
kill -TERM "$PROCESS"
wait_until 20 has_ended "$PROCESS" || fail "SIGTERM: the gateway stays"
wait_until 5 gone || fail "SIGTERM: still mounted"
[[ $had_directory == yes ]] || rmdir "/tmp/sluice-$kUser" || fail "something is left in /tmp/sluice-$kUser"
