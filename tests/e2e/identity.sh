#!/bin/bash
# Callers act with their own identity: what another user makes through the mount has the owner, group, mode and access list
# that it has when he makes it on the backing, and what he may not do there he may not do here.
source "$(dirname "$0")/lib.sh"
need_root
need setpriv setfacl getfacl setfattr getfattr fallocate
export PYTHON

as() { setpriv --reuid "$1" --regid "$2" --groups "$3" "${@:4}"; }  # UID GID GROUPS COMMAND...

prepare() {  # DIRECTORY, as root on the backing
  mkdir -p "$1"/{open,setgid,sticky,acl,closed,group}
  chmod 777 "$1/open"
  chgrp 3456 "$1/setgid" && chmod 2777 "$1/setgid"
  chmod 1777 "$1/sticky" && touch "$1/sticky/of_root"
  setfacl -m u:1234:rwx,d:u:1234:rw-,d:g::r--,d:o::---,d:m::rwx "$1/acl" && chmod o+x "$1"
  chmod 700 "$1/closed" && touch "$1/closed/file"
  chgrp 3456 "$1/group" && chmod 770 "$1/group"
  echo secret >"$1/open/of_root" && chmod 640 "$1/open/of_root"
  setfattr -n user.shown -v 1 "$1/open" && setfattr -n trusted.hidden -v 1 "$1/open"
  install -m 4755 -o 1234 -g 2345 /dev/null "$1/open/setuid"
  install -m 2755 -o 1234 -g 3456 /dev/null "$1/open/setgid"
  install -m 6777 -o 1234 -g 3456 /dev/null "$1/open/setid_for_all"
  install -m 6777 -o 1234 -g 3456 /dev/null "$1/open/setid_kept"
  install -m 6777 -o 1234 -g 3456 /dev/null "$1/open/setid_allocated"
  install -m 6777 -o 1234 -g 3456 /dev/null "$1/open/setid_copied"
}

# What the user does, and what he is told. Run on both sides, the story must be the same.
cat >"$WORK/story" <<'STORY'
cd "$1"
try() { "$@" 2>/dev/null && echo "$*: done" || echo "$*: refused"; }
try bash -c 'echo more >>open/setid_for_all'
try "$PYTHON" -c 'import os; os.chown("open/setid_kept", -1, -1)'
try fallocate -l 9000 open/setid_allocated
try fallocate -p -l 4096 open/setid_allocated
try "$PYTHON" -c 'import os; print(os.copy_file_range(os.open("open/setid_allocated", os.O_RDONLY), os.open("open/setid_copied", os.O_WRONLY), 9000))'
umask 022; touch open/file; mkdir open/directory; mkfifo open/fifo; ln -s file open/link
umask 077; touch open/private; mkdir open/private_directory
umask 000; touch open/public; mkdir open/public_directory
umask 027; touch setgid/file; mkdir setgid/directory; touch setgid/directory/below
umask 022; touch acl/file; mkdir acl/directory; touch acl/directory/below
try touch group/by_group
try rm -f sticky/of_root
try mv sticky/of_root sticky/renamed
try touch sticky/own
try rm sticky/own
try cat open/of_root
try ls closed
try touch closed/new
try chown 0 open/file
try chgrp 3456 open/file
try chgrp 9999 open/file
try chmod 600 open/of_root
try chmod 2755 open/public
try ln open/of_root open/hard
try mknod open/device c 1 3
try touch -d 2001-01-01 open/of_root
try truncate -s 0 open/of_root
try setfattr -n user.mine -v 1 open/private
try setfattr -n user.mine -v 1 open/of_root
try setfattr -n trusted.mine -v 1 open/private
getfattr -d -m - open
try chmod 4755 open/private
echo x >>open/setuid; echo x >>open/setgid
chmod 6755 open/file; truncate -s 5 open/file; stat -c %a open/file
chmod 6755 open/file; fallocate -l 9000 open/file; stat -c %a open/file
chmod 6755 open/file; cp --sparse=never --no-preserve=mode open/setgid open/file; stat -c %a open/file
chmod 6755 open/file; "$PYTHON" -c 'import os; os.chown("open/file", -1, -1)'; stat -c %a open/file
chmod 2755 open/directory; "$PYTHON" -c 'import os; os.chown("open/directory", -1, -1)'; stat -c %a open/directory
try chmod 2750 open/setgid
try chmod 6751 open/setuid
try chown 1235:3456 open/public_directory
try mv open/public open/moved
try rmdir open/private_directory
exit 0
STORY

told() {  # DIRECTORY
  (
    cd "$1"
    find . \( -type d -printf '%P %y %m %U %G\n' \) -o -printf '%P %y %m %U %G %n %s %l\n' | sort
    getfacl -R -n -p . 2>/dev/null
  )
}

stories_are_the_same() {  # UID GID GROUPS
  prepare "$WORK/plain/$1"
  prepare "$WORK/source/$1"
  as "$1" "$2" "$3" bash "$WORK/story" "$WORK/plain/$1" >"$WORK/told.plain" 2>&1
  as "$1" "$2" "$3" bash "$WORK/story" "$WORK/mount/$1" >"$WORK/told.mount" 2>&1
  sed -i "s|$WORK/[a-z]*/|DIRECTORY/|g" "$WORK/told.plain" "$WORK/told.mount"
  empty "user $1 is told on the backing (<) and in the mount (>)" "$(diff "$WORK/told.plain" "$WORK/told.mount" || true)"
  empty "made by user $1 on the backing (<) and in the mount (>)" \
    "$(diff <(told "$WORK/plain/$1") <(told "$WORK/source/$1") || true)"
  empty "made by user $1, seen on the backing (<) and in the mount (>)" \
    "$(diff <(told "$WORK/source/$1") <(told "$WORK/mount/$1") || true)"
}

mkdir "$WORK/plain" "$WORK/source" "$WORK/mount"
start_mount "$WORK/source" "$WORK/mount"
stories_are_the_same 1234 2345 3456
stories_are_the_same 1235 2345 2345
stories_are_the_same 65534 65534 65534
stories_are_the_same 0 0 0
stop_gateway

rm -rf "$WORK"/{plain,source}/*
start_mount --kernel-cache auto "$WORK/source" "$WORK/mount"
stories_are_the_same 1235 2345 2345
stories_are_the_same 65534 65534 65534
stories_are_the_same 0 0 0
stop_gateway
