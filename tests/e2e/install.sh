#!/bin/bash
# `cmake --install` puts the binary, the helper of mount(8) and the manual pages where the system looks for them, and the
# pages are written as mandoc wants them.
source "$(dirname "$0")/lib.sh"
need cmake mandoc

build_directory() {
  local directory
  directory=$(dirname "$SLUICE")
  until [[ -e $directory/CMakeCache.txt ]]; do
    [[ $directory != / ]] || skip "$SLUICE is not in a build directory"
    directory=$(dirname "$directory")
  done
  echo "$directory"
}

build=$(build_directory)
[[ -n $build ]] || exit 77
cp "$build/install_manifest.txt" "$WORK/manifest" 2>/dev/null || true
DESTDIR=$WORK/root cmake --install "$build" --prefix /usr >"$WORK/install.txt" 2>&1 || fail "$(tail -n 3 "$WORK/install.txt")"
if [[ -e $WORK/manifest ]]; then cp "$WORK/manifest" "$build/install_manifest.txt"; else rm -f "$build/install_manifest.txt"; fi

root=$WORK/root
[[ -x $root/usr/bin/sluice ]] || fail "no /usr/bin/sluice"
[[ -L $root/sbin/mount.sluice ]] || fail "no /sbin/mount.sluice"
equal "what mount.sluice is" "$(readlink "$root/sbin/mount.sluice")" /usr/bin/sluice
"$root/usr/bin/sluice" --version | grep -q '[0-9]' || fail "the installed binary does not run"
for command in mount serve; do
  unit=$root/usr/lib/systemd/system/sluice-$command@.service
  line=$(sed -n 's|^ExecStart=/usr.*/bin/\(sluice .*\)/etc/sluice/%i.conf$|\1|p' "$unit")
  [[ $line == "sluice $command "* ]] || fail "the unit of sluice $command does not run it"
  # The command takes these options: without a source it complains of that.
  : >"$WORK/empty.conf"
  said=$("$root/usr/bin/sluice" ${line#sluice } "$WORK/empty.conf" 2>&1) && fail "$line: ran without a source"
  [[ $said == *"$command takes SOURCE"* ]] || fail "$line: $said"
done
for page in man1/sluice.1 man5/sluice.conf.5 man7/sluice-http.7 man7/sluice-internals.7 man7/sluice-nfs.7 \
  man7/sluice-performance.7 man8/sluice-mount.8; do
  [[ -s $root/usr/share/man/$page ]] || fail "no $page"
  # Which other manuals this machine has is not ours to judge.
  said=$(mandoc -Tlint "$root/usr/share/man/$page" 2>&1 | grep -v -e 'referenced manual not found' -e 'mandoc\.db' || true)
  empty "mandoc -Tlint of $page" "$said"
done
