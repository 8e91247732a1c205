# shellcheck shell=bash
# Gateways that export by NFS. Every script gets its server here and nowhere else.
#
#   choose_nfs_port                                   # sets NFS_PORT
#   start_nfs_server [OPTION...] "$WORK/source" "$NFS_PORT"
#   kill_nfs_server                                   # as a crash would; the same port can be taken again at once

# What the test itself changes in the backing is seen by the next call.
NFS_AT_ONCE=(--attr-timeout 0 --entry-timeout 0)

# A port that is kept over a restart has to be known before.
choose_nfs_port() {
  NFS_PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
}

start_nfs_server() {  # [OPTION...] SOURCE PORT
  local port=${!#}
  TARGET=$WORK/nfs.${#LOG_OF[@]}.sock
  launch serve --nfs "127.0.0.1:$port" --control "$TARGET" "${@:1:$#-1}"
}

kill_nfs_server() {
  kill -KILL "$GATEWAY"
  await_end "$GATEWAY" 2>/dev/null || true
}
