// What keeps memory that clients may still read from being used for something else: that the arena is told of what is
// lent, and that zero-copy sends keep their pages until the kernel has let go.
#pragma once

namespace sluice {

// False only in a build of the tests, where memory is reused in place: tests/e2e/reuse_in_place.sh shows that clients
// get foreign bytes then, and that the checks see them.
#ifdef SLUICE_REUSE_IN_PLACE
inline constexpr bool kKeepsLentMemory = false;
#else
inline constexpr bool kKeepsLentMemory = true;
#endif

}  // namespace sluice
