#!/bin/bash
# Runs nfs-ganesha in the foreground: ganesha.sh CONFIGURATION PIDFILE. It does not start without a portmapper to register with,
# so it gets one that only it can reach: in a mount namespace of its own (the caller's part), on a socket below its own /run.
set -euo pipefail
mount -t tmpfs none /run
mkdir -p /run/rpcbind /run/ganesha
! id _rpc >/dev/null 2>&1 || chown _rpc /run/rpcbind
# A portmapper that knows of no network opens no port.
grep '^local' /etc/netconfig >/run/netconfig
mount --bind /run/netconfig /etc/netconfig
rpcbind -f </dev/null >/dev/null 2>&1 &
rpcbind=$!
for ((i = 0; i < 500; i++)); do
  [[ ! -S /run/rpcbind.sock ]] || break
  sleep 0.01
done
umount /etc/netconfig
# It ends with ganesha, however that ends: then nobody holds the other end any more. It changes its user, which loses a signal
# on its parent's death.
exec 9> >(read -r || kill "$rpcbind")
exec ganesha.nfsd -F -L /dev/stderr -f "$1" -p "$2"
