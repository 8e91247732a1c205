#include "fs/store/identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "cache/assert.h"
#include "cache/log.h"

namespace sluice {
namespace {

constexpr uint64_t bit(int capability) {
  return uint64_t{1} << capability;
}

struct Capabilities {
  uint64_t effective = 0;
  uint64_t permitted = 0;
  uint64_t inheritable = 0;
};

Capabilities read_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  ::syscall(SYS_capget, &header, data);
  return {data[0].effective | uint64_t{data[1].effective} << 32, data[0].permitted | uint64_t{data[1].permitted} << 32,
          data[0].inheritable | uint64_t{data[1].inheritable} << 32};
}

bool set_effective(const Capabilities& capabilities, uint64_t effective) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const auto low = [](uint64_t set) { return static_cast<uint32_t>(set); };
  const auto high = [](uint64_t set) { return static_cast<uint32_t>(set >> 32); };
  const __user_cap_data_struct data[2] = {
      {low(effective), low(capabilities.permitted), low(capabilities.inheritable)},
      {high(effective), high(capabilities.permitted), high(capabilities.inheritable)}};
  return ::syscall(SYS_capset, &header, data) == 0;
}

// What this thread is set to at the moment. Only this file changes it.
struct ThreadIdentity {
  const bool root = ::geteuid() == 0;
  const Capabilities capabilities = read_capabilities();  // outside of ActAs
  uid_t uid = static_cast<uid_t>(::syscall(SYS_setfsuid, -1));
  gid_t gid = static_cast<gid_t>(::syscall(SYS_setfsgid, -1));
  bool groups_known = false;
  std::vector<gid_t> groups;
  bool own_umask = false;     // unshared from the other threads
  bool shared_umask = false;  // the system refuses to unshare it
  bool umask_known = false;
  mode_t umask = 0;
};

ThreadIdentity& self() {
  thread_local ThreadIdentity identity;
  return identity;
}

// setfsuid reports no errors: ask what came of it. -1 is no uid, so that nothing changes.
bool set_uid(ThreadIdentity& thread, uid_t uid) {
  if (thread.uid == uid) return true;
  ::syscall(SYS_setfsuid, uid);
  thread.uid = static_cast<uid_t>(::syscall(SYS_setfsuid, -1));
  return thread.uid == uid;
}

bool set_gid(ThreadIdentity& thread, gid_t gid) {
  if (thread.gid == gid) return true;
  ::syscall(SYS_setfsgid, gid);
  thread.gid = static_cast<gid_t>(::syscall(SYS_setfsgid, -1));
  return thread.gid == gid;
}

bool set_groups(ThreadIdentity& thread, const std::vector<gid_t>& groups) {
  if (thread.groups_known && thread.groups == groups) return true;
  if (::syscall(SYS_setgroups, groups.size(), groups.data()) != 0) return false;
  thread.groups = groups;
  thread.groups_known = true;
  return true;
}

bool take_over(ThreadIdentity& thread, const Caller& caller) {
  if (!thread.root) return true;
  if (caller.uid == 0) {
    act_as_gateway();
    return set_gid(thread, caller.gid);
  }
  return set_gid(thread, caller.gid) && set_groups(thread, caller.groups) && set_uid(thread, caller.uid);
}

void set_umask(ThreadIdentity& thread, mode_t mask) {
  if (thread.umask_known && thread.umask == mask) return;
  if (!thread.own_umask && !thread.shared_umask) {
    thread.own_umask = ::unshare(CLONE_FS) == 0;
    thread.shared_umask = !thread.own_umask;
    if (thread.shared_umask) log(LogLevel::warning, "umask of callers is not honoured: unshare: {}", error_text(errno));
  }
  if (thread.shared_umask) return;
  ::umask(mask);
  thread.umask = mask;
  thread.umask_known = true;
}

}  // namespace

void drop_capabilities() {
  const Capabilities capabilities = read_capabilities();
  set_effective(capabilities, capabilities.effective & ~(bit(CAP_FSETID) | bit(CAP_SYS_RESOURCE)));
}

ActAs::ActAs(const Caller& caller, unsigned needs) {
  ThreadIdentity& thread = self();
  if ((needs & kUmask) != 0) set_umask(thread, caller.umask);
  if (!take_over(thread, caller)) error_ = EPERM;
  const bool has_set_id = (thread.capabilities.effective & bit(CAP_FSETID)) != 0;
  if ((needs & kSetId) != 0 && thread.root && caller.uid == 0 && !has_set_id) {
    set_id_raised_ = set_effective(thread.capabilities, thread.capabilities.effective | bit(CAP_FSETID));
  }
}

ActAs::~ActAs() {
  act_as_gateway();
  if (set_id_raised_) ASSERT(set_effective(self().capabilities, self().capabilities.effective));
}

Result<void> ActAs::ready() const {
  if (error_ != 0) return fail(error_);
  return {};
}

Result<void> stay_as(const Caller& caller) {
  if (!take_over(self(), caller)) return fail(EPERM);
  return {};
}

void act_as_gateway() {
  ThreadIdentity& thread = self();
  if (!thread.root || thread.uid == 0) return;
  ASSERT(set_uid(thread, 0));
  // The way back to uid 0 makes every permitted file system capability effective, also those that were dropped.
  const uint64_t dropped = thread.capabilities.permitted & ~thread.capabilities.effective;
  if (dropped != 0) ASSERT(set_effective(thread.capabilities, thread.capabilities.effective));
}

}  // namespace sluice
