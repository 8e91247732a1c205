#include "tools/bench/memory_fs.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "fs/fuse/libfuse.h"

namespace sluice {
namespace {

constexpr fuse_ino_t kFile = 2;
constexpr double kForEver = 86400;
constexpr unsigned kBackgroundRequestsMax = 256;  // as Sluice's, for depth

struct MemoryFile {
  std::string_view name;
  std::string_view bytes;
};

const MemoryFile& file_of(fuse_req_t request) {
  return *static_cast<const MemoryFile*>(fuse_req_userdata(request));
}

struct stat attributes(const MemoryFile& file, fuse_ino_t number) {
  struct stat result {};
  result.st_ino = number;
  result.st_mode = number == kFile ? S_IFREG | 0444 : S_IFDIR | 0555;
  result.st_nlink = 1;
  result.st_size = number == kFile ? static_cast<off_t>(file.bytes.size()) : 0;
  return result;
}

void init(void*, fuse_conn_info* connection) {
  want(*connection, FUSE_CAP_ASYNC_DIO);
  connection->max_background = kBackgroundRequestsMax;
  connection->congestion_threshold = kBackgroundRequestsMax * 3 / 4;
}

void lookup(fuse_req_t request, fuse_ino_t, const char* name) {
  if (file_of(request).name != name) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry{};
  entry.ino = kFile;
  entry.attr = attributes(file_of(request), kFile);
  entry.attr_timeout = entry.entry_timeout = kForEver;
  fuse_reply_entry(request, &entry);
}

void getattr(fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
  const struct stat result = attributes(file_of(request), number);
  fuse_reply_attr(request, &result, kForEver);
}

void open(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  info->direct_io = 1;
  fuse_reply_open(request, info);
}

void read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  const std::string_view bytes = file_of(request).bytes;
  const size_t from = std::min(static_cast<size_t>(offset), bytes.size());
  fuse_reply_buf(request, bytes.data() + from, std::min(size, bytes.size() - from));
}

}  // namespace

int serve_from_memory(const std::string& mountpoint, std::string_view name, std::string_view bytes) {
  const MemoryFile file{name, bytes};
  fuse_lowlevel_ops operations{};
  operations.init = init;
  operations.lookup = lookup;
  operations.getattr = getattr;
  operations.open = open;
  operations.read = read;
  char program[] = "sluice";
  char* arguments[] = {program, nullptr};
  fuse_args none = FUSE_ARGS_INIT(1, arguments);
  fuse_session* const session =
      fuse_session_new(&none, &operations, sizeof(operations), const_cast<MemoryFile*>(&file));
  if (session == nullptr) return EXIT_FAILURE;
  int result = -1;
  if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, mountpoint.c_str()) == 0) {
    fuse_loop_config* const config = fuse_loop_cfg_create();
    result = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
  }
  fuse_session_destroy(session);
  return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace sluice
