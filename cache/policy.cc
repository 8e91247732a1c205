#include "cache/policy.h"

namespace sluice {

std::unique_ptr<Policy> make_policy(std::string_view name, const PolicyOptions& options) {
  if (name == "lru") return make_lru_policy(options);
  if (name == "midpoint") return make_midpoint_policy(options);
  return nullptr;
}

}  // namespace sluice
