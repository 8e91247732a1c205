// The least that a FUSE daemon can do: one file, answered from memory, on libfuse's own loop. What it reaches is what
// libfuse and the kernel leave to anybody, so Sluice is measured by it.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// Shows `bytes` as the file `name`, which programs read past the kernel's cache, as Sluice's. Returns when it is
// unmounted, or on a signal; an exit status. For a process of its own: takes over its signals.
int serve_from_memory(const std::string& mountpoint, std::string_view name, std::string_view bytes);

}  // namespace sluice
