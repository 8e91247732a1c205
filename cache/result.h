// Errors are values: a Result<T> holds a T or an errno, which every front end (FUSE, HTTP, NFS) already speaks.
#pragma once

#include <tl/expected.hpp>

namespace sluice {

struct Error {
  int number;  // an errno, never 0
  friend bool operator==(Error, Error) = default;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(int number) {
  return tl::unexpected<Error>(Error{number});
}

namespace detail {
template <typename T>
T take(tl::expected<T, Error>& result) {
  return std::move(*result);
}
inline void take(tl::expected<void, Error>&) {}
}  // namespace detail

}  // namespace sluice

// Value of a Result, or return its error from the enclosing function.
#define TRY(expression)                                         \
  ({                                                            \
    auto try_result = (expression);                             \
    if (!try_result) return tl::unexpected(try_result.error()); \
    ::sluice::detail::take(try_result);                         \
  })
