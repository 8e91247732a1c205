#pragma once

namespace sluice {
inline constexpr char kVersion[] = "0.1.0";  // as in CMakeLists.txt
}  // namespace sluice
