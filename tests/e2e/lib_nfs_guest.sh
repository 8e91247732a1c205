# shellcheck shell=bash
# A virtual machine with Debian's kernel, whose NFS client mounts what gateways here export. It boots in 6 s without KVM, which
# many test machines lack or only seem to have. Its network is qemu's own: connections to 10.0.2.2 arrive from 127.0.0.1.
#
#   need_guest
#   start_guest script.py port="$NFS_PORT"     # the script runs in the guest, see lib_guest.py
#   guest_reaches written                      # waits until the script calls meet("written")
#   let_guest_go written
#   guest_ends_well                            # the script is through, and the machine is off
#
# What the guest says on its console is in $WORK/log.guest.
GUEST_KERNEL=/var/cache/sluice-tests/kernel  # where tools/install-deps --tests unpacks it
GUEST_SECONDS=100  # it may take until its next word
GUEST=  # qemu's process

need_guest() {
  need qemu-system-x86_64 busybox ldd
  [[ -e $GUEST_KERNEL/vmlinuz ]] || skip "there is no kernel in $GUEST_KERNEL; tools/install-deps --tests puts it there"
}

start_guest() {  # SCRIPT [NAME=VALUE...]
  local script=$1 words
  shift
  "$PYTHON" "$E2E/lib_nfs_guest.py" "$GUEST_KERNEL" "$script" "$WORK/initramfs" || fail "the guest's files cannot be packed"
  mkfifo "$WORK/line.in" "$WORK/line.out"
  exec 8<>"$WORK/line.in" 9<>"$WORK/line.out"
  words=(console=ttyS0 quiet panic=-1 mitigations=off "${@/#/guest.}")
  # Of the rest of a PC the guest would only look for it. rdrand: else Python waits a second for random numbers.
  qemu-system-x86_64 -machine pc,hpet=off,smm=off,i8042=off -accel tcg -cpu qemu64,+rdrand -m 256 \
    -nodefaults -no-user-config -display none -no-reboot \
    -kernel "$GUEST_KERNEL/vmlinuz" -initrd "$WORK/initramfs" -append "${words[*]}" \
    -serial "file:$WORK/log.guest" -chardev "pipe,id=line,path=$WORK/line" -serial chardev:line \
    -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= </dev/null >"$WORK/log.qemu" 2>&1 8>&- 9>&- &
  GUEST=$!
  JOBS_OF_OURS+=("$GUEST")
  echo "$GUEST" >>"$WORK/pids"
}

next_word_of_guest() {  # sets REPLY
  local deadline=$((SECONDS + GUEST_SECONDS))
  until read -r -t 1 -u 9; do
    is_alive "$GUEST" || fail "the guest is gone: $(tail -n 1 "$WORK/log.qemu")"
    ((SECONDS < deadline)) || fail "the guest says nothing for $GUEST_SECONDS s"
  done
}

guest_reaches() {  # NAME
  next_word_of_guest
  [[ $REPLY == "reached $1" ]] || fail "before '$1' the guest says '$REPLY'"
}
let_guest_go() { echo "$1" >&8; }  # NAME

guest_ends_well() {
  next_word_of_guest
  [[ $REPLY == "ended 0" ]] || fail "the guest says '$REPLY'"
  wait_until 20 has_ended "$GUEST" || fail "the guest does not turn itself off"
}
