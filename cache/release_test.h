// The release test answers whether the kernel still references a page of a slab: the proof by which lent memory is
// written again (the essay is in arena.h; the measurements behind it in the internals manual).
//
// MADV_COLLAPSE wants to move a slab into one huge page, so it first compares each page's reference count with its
// mappings. The guard page at the slab's end makes sure that it always fails, in one of two ways:
//   EAGAIN  some page has a reference beyond its mapping: a pipe, a socket's queue, direct I/O in flight
//   EINVAL  none has: it came as far as the guard page. Nothing has moved.
// The kernel does not promise that, and EINVAL has other causes (huge pages switched off for the process answers
// EINVAL at once, lent or not). Hence the witness: a page that is lent for ever, for which the test must go on saying
// busy. An EINVAL counts only while the witness holds.
#pragma once

#include <optional>
#include <utility>

#include "cache/unique_fd.h"

namespace sluice {

enum class ReleaseAnswer {
  released,
  busy,
  refused,  // the kernel had not the 2 MiB that the test takes for the moment: a memory cgroup at its limit
  broken,   // the kernel does not behave as described above
};

// Makes the slab's last page the guard. False where the kernel cannot (before 6.13).
bool install_guard(char* slab);
// The page is as any other. A guard outlives the memory of its slab, and a slab with a guard cannot be touched as a
// whole.
void remove_guard(char* slab);

// 15 to 50 us when released, less when busy; may be much more when refused. Any thread.
ReleaseAnswer test_release(char* slab);

class ReleaseWitness {
 public:
  // `slab` is 2 MiB of untouched memory in the arena's own mapping, the witness's from now on. It takes one page of it.
  // None when no pipe can be had or when the test does not see the lent page.
  static std::optional<ReleaseWitness> create(char* slab);
  bool holds() const { return test_release(slab_) == ReleaseAnswer::busy; }

 private:
  ReleaseWitness(char* slab, UniqueFd reader, UniqueFd writer)
      : slab_(slab), reader_(std::move(reader)), writer_(std::move(writer)) {}

  char* slab_;
  UniqueFd reader_;  // nobody ever reads it
  UniqueFd writer_;
};

}  // namespace sluice
