// The MOUNT protocol, version 3: RFC 1813 appendix I. Its list of mounts says nothing of who may use handles, which is
// decided with every call.
#include <algorithm>
#include <cerrno>

#include "net/nfs/service.h"

namespace sluice {
namespace {

// mountstat3: NFS' numbers, of those used here.
constexpr uint32_t kFlavors[] = {static_cast<uint32_t>(RpcFlavor::sys)};

std::string_view without_slashes(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

bool NfsService::run(MountProcedure procedure, NfsCall& call) {
  const size_t begin = call.reply.size();
  switch (procedure) {
    case MountProcedure::null: break;
    case MountProcedure::mount: mount(call); break;
    case MountProcedure::dump: dump(call); break;
    case MountProcedure::unmount: unmount(call); break;
    case MountProcedure::unmount_all: unmount_all(call); break;
    case MountProcedure::exports: exports(call); break;
  }
  if (call.arguments.ok()) return true;
  call.reply.truncate(begin);
  return false;
}

void NfsService::mount(NfsCall& call) {
  const std::string path(call.arguments.opaque(kMountPathMax));
  if (!call.arguments.ok()) return;
  const NfsResult<NfsFileRef> file = call.options == nullptr ? nfs_fail(NfsStatus::acces) : go_down(path);
  call.reply.u32(static_cast<uint32_t>(file ? NfsStatus::ok : file.error()));
  if (!file) return;
  call.reply.opaque((*file)->handle());
  call.reply.u32(std::size(kFlavors));
  for (const uint32_t flavor : kFlavors) call.reply.u32(flavor);
  const MountEntry entry{call.peer, path};
  MutexLock lock(&mounts_mutex_);
  if (std::ranges::find(mounts_, entry) != mounts_.end()) return;
  if (mounts_.size() == kMountEntriesMax) mounts_.erase(mounts_.begin());
  mounts_.push_back(entry);
}

// Any directory below the export can be mounted; links are not followed. What the client may do there is asked later.
NfsResult<NfsFileRef> NfsService::go_down(std::string_view path) {
  auto entry = store_.lookup(kRootInode, ".");
  if (!entry) return nfs_fail(nfs_status_of(entry.error().number));
  for (path = without_slashes(path); !path.empty();) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    if (name.empty() || name == ".") continue;
    const InodeNumber parent = entry->number;
    if (name == "..") {
      entry = sluice::fail(EACCES);
    } else {
      entry = store_.lookup(parent, name);
    }
    store_.forget(parent, 1);
    if (!entry) return nfs_fail(nfs_status_of(entry.error().number));
  }
  if (S_ISDIR(entry->attributes.st_mode)) return file_of_entry(*entry);
  store_.forget(entry->number, 1);
  return nfs_fail(NfsStatus::notdir);
}

void NfsService::dump(NfsCall& call) {
  if (call.options == nullptr) {
    call.reply.boolean(false);
    return;
  }
  MutexLock lock(&mounts_mutex_);
  for (const MountEntry& entry : mounts_) {
    call.reply.boolean(true);
    call.reply.opaque(entry.client.text());
    call.reply.opaque(entry.directory);
  }
  call.reply.boolean(false);
}

void NfsService::unmount(NfsCall& call) {
  const MountEntry entry{call.peer, std::string(call.arguments.opaque(kMountPathMax))};
  if (!call.arguments.ok()) return;
  MutexLock lock(&mounts_mutex_);
  std::erase(mounts_, entry);
}

void NfsService::unmount_all(NfsCall& call) {
  MutexLock lock(&mounts_mutex_);
  std::erase_if(mounts_, [&](const MountEntry& entry) { return entry.client == call.peer; });
}

void NfsService::exports(NfsCall& call) {
  call.reply.boolean(true);
  call.reply.opaque("/");
  call.reply.boolean(false);  // groups that may: rules are not told
  call.reply.boolean(false);
}

}  // namespace sluice
