#!/bin/bash
# -o uid=, gid= and umask= show other owners and permissions than the backing has, and open the mount to whom they let in. Who
# comes in that way acts as the gateway, but cannot leave set-user-id programs.
source "$(dirname "$0")/lib.sh"
need_root
need setpriv

as() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }  # UID COMMAND...
shown() { stat -c '%u:%g %a %F' "$1"; }
refused() { ! "$@" 2>/dev/null || fail "not refused: $*"; }

mkdir "$WORK/source" "$WORK/mount"
echo secret >"$WORK/source/private"
chmod 600 "$WORK/source/private"
mkdir -m 700 "$WORK/source/closed"

start_mount -o uid=1234,gid=2345,umask=027 "$WORK/source" "$WORK/mount"
equal "a file of root" "$(shown "$WORK/mount/private")" "1234:2345 750 regular file"
equal "a directory of root" "$(shown "$WORK/mount/closed")" "1234:2345 750 directory"
equal "read by the owner shown" "$(as 1234 cat "$WORK/mount/private")" secret
refused as 1235 cat "$WORK/mount/private"
as 1234 bash -c 'umask 022; echo new >"$0/closed/new"; chmod 6755 "$0/closed/new"; mkdir "$0/closed/sub"' "$WORK/mount"
equal "new file, as shown" "$(shown "$WORK/mount/closed/new")" "1234:2345 750 regular file"
equal "new file, on the backing" "$(shown "$WORK/source/closed/new")" "0:0 755 regular file"
equal "a look at all of them" "$(find "$WORK/mount" ! -user 1234 -o ! -group 2345)" ""
stop_gateway

start_mount -o uid=1234 "$WORK/source" "$WORK/mount"
equal "only the owner is shown" "$(shown "$WORK/mount/private")" "1234:0 600 regular file"
stop_gateway

refused "$SLUICE" mount -o umask=8 "$WORK/source" "$WORK/mount"
refused "$SLUICE" mount -o umask=1000 "$WORK/source" "$WORK/mount"
refused "$SLUICE" mount -o uid=root "$WORK/source" "$WORK/mount"
