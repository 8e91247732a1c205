// The two implementations of EventLoop, for its factory.
#pragma once

#include <memory>

#include "net/event_loop.h"

namespace sluice {

// Errors: ENOSYS, EPERM (refused), EINVAL (a kernel without what it uses: Linux 6.1 has all).
Result<std::unique_ptr<EventLoop>> make_ring_loop(const Clock* clock);
Result<std::unique_ptr<EventLoop>> make_epoll_loop(const Clock* clock);

}  // namespace sluice
