// The file handles that clients hold: what the store finds the file by, the export it belongs to, and a code that only
// we can make (SipHash-2-4, keyed), so that nobody reaches files of the same file system by guessing handles.
//
//   byte 0     layout, 1
//   byte 1     length of the store's handle; 0: the export's root
//   2..5       the export
//   6..        the store's handle
//   last 8     the code of everything before
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/nfs/protocol.h"

namespace sluice {

// Kept over restarts: with another one all handles that clients hold are stale.
struct NfsExportKey {
  std::array<uint8_t, 16> secret{};
  uint32_t export_id = 0;

  static NfsExportKey random();
};

class NfsHandles {
 public:
  explicit NfsHandles(const NfsExportKey& key) : key_(key) {}

  static constexpr size_t kOverhead = 14;
  static constexpr size_t kStoreHandleMax = kNfsHandleMax - kOverhead;
  static_assert(Store::kPersistentHandleMax <= kStoreHandleMax);

  // `store_handle` is no longer than kStoreHandleMax.
  std::string seal(std::string_view store_handle) const;
  // Points into `handle`; empty: the root. Errors: badhandle (not of this form), stale (not made by us).
  NfsResult<std::string_view> unseal(std::string_view handle) const;

 private:
  std::array<uint8_t, 8> code_of(std::string_view bytes) const;

  const NfsExportKey key_;
};

}  // namespace sluice
