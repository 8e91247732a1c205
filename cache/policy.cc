#include "cache/policy.h"

#include <array>

namespace sluice {
namespace {

class IdsAsHashes final : public BlockHashes {
 public:
  uint64_t hash_of(BlockId block) const override { return block; }
};

constexpr std::array kKinds = {&kLruPolicy, &kMidpointPolicy, &kS3FifoPolicy, &kArcPolicy};

}  // namespace

const BlockHashes& ids_as_hashes() {
  static const IdsAsHashes hashes;
  return hashes;
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
