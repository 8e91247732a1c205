#include "fs/fuse/caller.h"

namespace sluice {
namespace {

std::vector<gid_t> read_groups(fuse_req_t request) {
  std::vector<gid_t> groups(64);
  while (true) {
    const int count = fuse_req_getgroups(request, static_cast<int>(groups.size()), groups.data());
    const bool fits = count <= static_cast<int>(groups.size());
    groups.resize(count > 0 ? static_cast<size_t>(count) : 0);
    if (fits) return groups;
  }
}

}  // namespace

std::vector<gid_t> CallerGroups::get(pid_t pid, uid_t uid, gid_t gid, const std::function<std::vector<gid_t>()>& load) {
  const auto now = clock_->monotonic();
  const size_t place = static_cast<size_t>(pid) % kSlots;
  {
    MutexLock lock(&mutex_);
    const Slot& slot = slots_[place];
    if (slot.expires > now && slot.pid == pid && slot.uid == uid && slot.gid == gid) return slot.groups;
  }
  auto groups = load();
  {
    MutexLock lock(&mutex_);
    slots_[place] = {pid, uid, gid, now + kLifetime, groups};
  }
  return groups;
}

Caller caller_of(fuse_req_t request, CallerGroups& groups) {
  const fuse_ctx* context = fuse_req_ctx(request);
  Caller caller{.uid = context->uid, .gid = context->gid, .groups = {}, .umask = context->umask};
  if (caller.uid != 0) {
    caller.groups = groups.get(context->pid, context->uid, context->gid, [request] { return read_groups(request); });
  }
  return caller;
}

}  // namespace sluice
