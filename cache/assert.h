// ASSERT stops the process on a programmer's error, in release builds too. Never use it on input.
#pragma once

namespace sluice {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}  // namespace sluice

#define ASSERT(expression) \
  (static_cast<bool>(expression) ? void(0) : ::sluice::assertion_failed(#expression, __FILE__, __LINE__))
