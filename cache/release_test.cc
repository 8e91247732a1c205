#include "cache/release_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>

#include <cerrno>

#include "cache/arena.h"
#include "cache/slab_memory.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

namespace sluice {
namespace {

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

std::optional<Pipe> open_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return std::nullopt;
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

bool lend_page(const Pipe& pipe, char* page) {
  const iovec piece{page, kPageSize};
  return ::vmsplice(pipe.writer.get(), &piece, 1, SPLICE_F_NONBLOCK) == static_cast<ssize_t>(kPageSize);
}

bool read_page(const Pipe& pipe) {
  char bytes[kPageSize];
  return ::read(pipe.reader.get(), bytes, sizeof bytes) == static_cast<ssize_t>(sizeof bytes);
}

ReleaseAnswer try_to_collapse(char* slab) {
  if (::madvise(slab, kSlabSize, MADV_COLLAPSE) == 0) return ReleaseAnswer::broken;
  switch (errno) {
    case EINVAL: return ReleaseAnswer::released;
    case EAGAIN: return ReleaseAnswer::busy;
    case EBUSY:  // by the memory cgroup
    case ENOMEM:
    case EINTR: return ReleaseAnswer::refused;
    default: return ReleaseAnswer::broken;
  }
}

bool swap_is_on() {
  struct sysinfo information;
  return ::sysinfo(&information) != 0 || information.totalswap > 0;
}

// A slab that nobody references may look busy for a moment, to the kernel's own compaction for one.
bool becomes_released(char* slab) {
  for (int attempt = 0; attempt < 100; attempt++) {
    if (test_release(slab) == ReleaseAnswer::released) return true;
  }
  return false;
}

bool sees_lent_page(char* slab, uint32_t frame) {
  const std::optional<Pipe> pipe = open_pipe();
  if (!pipe || !becomes_released(slab)) return false;
  if (!lend_page(*pipe, slab + size_t{frame} * kPageSize)) return false;
  if (test_release(slab) != ReleaseAnswer::busy) return false;
  return read_page(*pipe) && becomes_released(slab);
}

}  // namespace

bool install_guard(char* slab) {
  return ::madvise(slab + kSlabSize - kPageSize, kPageSize, MADV_GUARD_INSTALL) == 0;
}

void remove_guard(char* slab) {
  ::madvise(slab + kSlabSize - kPageSize, kPageSize, MADV_GUARD_REMOVE);
}

ReleaseAnswer test_release(char* slab) {
  const ReleaseAnswer answer = try_to_collapse(slab);
  // A swapped-out page is not looked at, though a pipe may still hold it; but the first try swapped it in.
  return answer == ReleaseAnswer::released && swap_is_on() ? try_to_collapse(slab) : answer;
}

std::optional<ReleaseWitness> ReleaseWitness::create(char* slab) {
  std::optional<Pipe> pipe = open_pipe();
  if (!pipe) return std::nullopt;
  // One small page is enough; the test needs the huge page advice back.
  ::madvise(slab, kSlabSize, MADV_NOHUGEPAGE);
  slab[0] = 1;
  ::madvise(slab, kSlabSize, MADV_HUGEPAGE);
  if (!lend_page(*pipe, slab)) return std::nullopt;
  ReleaseWitness witness(slab, std::move(pipe->reader), std::move(pipe->writer));
  if (!witness.holds()) return std::nullopt;
  return witness;
}

ReleaseProof probe_release_proof() {
  Result<SlabMemory> memory = SlabMemory::reserve(2);
  if (!memory || !memory->touch(0) || !install_guard(memory->address(0))) return ReleaseProof::replace;
  for (uint32_t frame : {0u, kFramesPerSlab / 2, kFramesPerSlab - 2}) {
    if (!sees_lent_page(memory->address(0), frame)) return ReleaseProof::replace;
  }
  return ReleaseWitness::create(memory->address(1)) ? ReleaseProof::collapse : ReleaseProof::replace;
}

}  // namespace sluice
