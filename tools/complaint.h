// A complaint is what a person is told when something they asked for cannot be: one line that names the thing and the
// remedy, without the leading "sluice: " and without a final dot. Errors that a program handles stay errnos
// (cache/result.h).
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace sluice {

struct Complaint {
  std::string line;
};

template <typename T = void>
using Checked = tl::expected<T, Complaint>;

template <typename... Args>
tl::unexpected<Complaint> complain(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Complaint>(Complaint{fmt::format(format, std::forward<Args>(args)...)});
}

// Control characters as \xNN.
std::string printable(std::string_view text);
// "sluice: LINE" to standard error, printable.
void tell(const Complaint& complaint);

namespace detail {  // lets TRY (cache/result.h) pass complaints on
template <typename T>
T take(tl::expected<T, Complaint>& checked) {
  return std::move(*checked);
}
inline void take(tl::expected<void, Complaint>&) {}
}  // namespace detail

}  // namespace sluice
