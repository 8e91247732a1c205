// Acting as the caller. For the duration of one operation the thread takes over the caller's file system identity
// (fsuid, fsgid, groups, umask) by raw system calls, so that the kernel itself decides permissions, ownership, set-id
// bits and default ACLs. glibc's wrappers would change every thread. Leaving fsuid 0 drops the file system capabilities
// by itself.
//
// A change of credentials costs 2.3 us here, an openat2 and close 2.6: what need not be undone (fsgid, groups, umask)
// is kept and remembered per thread, only the uid goes back. An ordinary user (euid != 0) cannot switch: everything but
// the umask stays as it is.
//
// The first switch makes the process non-dumpable (prctl(2), PR_SET_DUMPABLE): no core files.
#pragma once

#include "cache/result.h"
#include "fs/store/types.h"

namespace sluice {

// Call before the first thread starts. Takes CAP_FSETID and CAP_SYS_RESOURCE out of the effective set, so that writes
// clear set-id bits and quotas hold; they stay permitted.
void drop_capabilities();

class ActAs {
 public:
  static constexpr unsigned kUmask = 1;  // the operation creates something
  static constexpr unsigned kSetId = 2;  // the operation sets modes: root keeps set-id bits that others lose
  static constexpr unsigned to_create(mode_t mode) { return kUmask | ((mode & (S_ISUID | S_ISGID)) != 0 ? kSetId : 0); }

  // The operation must not run unless `ready()`: EPERM when the kernel refused the switch (user namespaces).
  explicit ActAs(const Caller& caller, unsigned needs = 0);
  ~ActAs();
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

  Result<void> ready() const;

 private:
  int error_ = 0;
  bool set_id_raised_ = false;
};

// For threads that act for one caller all the time: takes over the identity and stays so until an ActAs ends or
// act_as_gateway() is called on this thread. Errors: EPERM.
Result<void> stay_as(const Caller& caller);
// Back to what the process is. Free when nothing was switched.
void act_as_gateway();

}  // namespace sluice
