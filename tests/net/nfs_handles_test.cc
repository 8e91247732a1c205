#include "net/nfs/handles.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

NfsExportKey key_of(uint8_t byte, uint32_t id = 1) {
  NfsExportKey key;
  key.secret.fill(byte);
  key.export_id = id;
  return key;
}

TEST_CASE("nfs handles: what was sealed is what is unsealed", "[net][nfs]") {
  const NfsHandles handles(key_of(1));
  for (size_t length = 0; length <= NfsHandles::kStoreHandleMax; ++length) {
    const std::string store_handle(length, 'h');
    const std::string handle = handles.seal(store_handle);
    CHECK(handle.size() <= kNfsHandleMax);
    const auto unsealed = handles.unseal(handle);
    REQUIRE(unsealed);
    CHECK(*unsealed == store_handle);
  }
  CHECK(NfsHandles(key_of(1)).unseal(handles.seal("same key")));  // after a restart
}

TEST_CASE("nfs handles: those of another export, and of another key, are stale", "[net][nfs]") {
  const std::string handle = NfsHandles(key_of(1)).seal("file");
  CHECK(NfsHandles(key_of(2)).unseal(handle).error() == NfsStatus::stale);
  CHECK(NfsHandles(key_of(1, 2)).unseal(handle).error() == NfsStatus::stale);
  CHECK(NfsExportKey::random().secret != NfsExportKey::random().secret);
}

TEST_CASE("nfs handles: what cannot be one is bad", "[net][nfs]") {
  const NfsHandles handles(key_of(1));
  const std::string handle = handles.seal("file");
  for (const std::string& bad :
       {std::string(), handle.substr(1), handle.substr(0, handle.size() - 1), handle + "x", std::string(64, '\0'),
        "\2" + handle.substr(1), handle.substr(0, NfsHandles::kOverhead - 1)}) {
    const auto unsealed = handles.unseal(bad);
    REQUIRE_FALSE(unsealed);
    CHECK(unsealed.error() == NfsStatus::badhandle);
  }
}

TEST_CASE("nfs handles: of a million forgeries none is taken", "[net][nfs]") {
  std::mt19937_64 random(test_seed());
  const NfsHandles handles(NfsExportKey::random());
  const std::string real = handles.seal("\1ext4file");
  uint64_t accepted = 0;
  for (int round = 0; round < 1'000'000; ++round) {
    std::string forged = real;
    switch (random() % 3) {
      case 0:  // another file, the code guessed
        for (size_t i = 6; i < forged.size(); ++i) forged[i] = static_cast<char>(random());
        break;
      case 1: forged[random() % forged.size()] ^= static_cast<char>(1U << random() % 8); break;  // one bit
      case 2:  // the same file, the code guessed
        for (size_t i = forged.size() - 8; i < forged.size(); ++i) forged[i] = static_cast<char>(random());
        break;
    }
    if (forged != real && handles.unseal(forged)) ++accepted;
  }
  CHECK(accepted == 0);
  CHECK(handles.unseal(real));
}

}  // namespace
}  // namespace sluice
