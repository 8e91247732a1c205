#include "fs/fuse/caller.h"

#include <fmt/format.h>

#include <fstream>
#include <string>

namespace sluice {
namespace {

// Not by fuse_req_getgroups: the request may have been answered already, and be gone.
std::vector<gid_t> read_groups(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{0}/task/{0}/status", pid));
  std::vector<gid_t> groups;
  for (std::string word; status >> word;) {
    if (word != "Groups:") continue;
    for (gid_t group; status >> group;) groups.push_back(group);
    break;
  }
  return groups;
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

Caller caller_of(const fuse_ctx& context, CallerGroups& groups) {
  Caller caller{.uid = context.uid, .gid = context.gid, .groups = {}, .umask = context.umask};
  if (caller.uid != 0) {
    caller.groups = groups.get(context.pid, context.uid, context.gid, [&context] { return read_groups(context.pid); });
  }
  return caller;
}

}  // namespace sluice
