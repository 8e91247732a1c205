#include "cache/policy.h"

#include <array>

namespace sluice {
namespace {

class PlainOwner final : public BlockOwner {
 public:
  uint64_t hash_of(BlockId block) const override { return block; }
  bool was_used(BlockId) const override { return true; }
};

constexpr std::array kKinds = {&kLruPolicy, &kMidpointPolicy, &kS3FifoPolicy, &kArcPolicy};

}  // namespace

const BlockOwner& plain_owner() {
  static const PlainOwner owner;
  return owner;
}

std::span<const PolicyKind* const> policy_kinds() {
  return kKinds;
}

const PolicyKind* find_policy(std::string_view name) {
  for (const PolicyKind* kind : kKinds) {
    if (kind->name == name) return kind;
  }
  return nullptr;
}

std::unique_ptr<Policy> make_policy(std::string_view name, const PolicyOptions& options) {
  const PolicyKind* kind = find_policy(name);
  return kind != nullptr ? kind->make(options) : nullptr;
}

}  // namespace sluice
