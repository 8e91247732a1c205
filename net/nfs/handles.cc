#include "net/nfs/handles.h"

#include <sodium.h>

#include <cstring>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr char kLayout = 1;
constexpr size_t kHeadSize = 6;
constexpr size_t kCodeSize = crypto_shorthash_BYTES;
static_assert(kHeadSize + kCodeSize == NfsHandles::kOverhead);
static_assert(crypto_shorthash_KEYBYTES == sizeof NfsExportKey::secret);

const unsigned char* raw(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

NfsExportKey NfsExportKey::random() {
  ASSERT(::sodium_init() >= 0);
  NfsExportKey key;
  ::randombytes_buf(key.secret.data(), key.secret.size());
  ::randombytes_buf(&key.export_id, sizeof key.export_id);
  return key;
}

std::array<uint8_t, 8> NfsHandles::code_of(std::string_view bytes) const {
  std::array<uint8_t, kCodeSize> code;
  ::crypto_shorthash(code.data(), raw(bytes), bytes.size(), key_.secret.data());
  return code;
}

std::string NfsHandles::seal(std::string_view store_handle) const {
  ASSERT(store_handle.size() <= kStoreHandleMax);
  std::string handle;
  handle.reserve(kOverhead + store_handle.size());
  handle.push_back(kLayout);
  handle.push_back(static_cast<char>(store_handle.size()));
  handle.append(reinterpret_cast<const char*>(&key_.export_id), sizeof key_.export_id);
  handle.append(store_handle);
  const auto code = code_of(handle);
  handle.append(reinterpret_cast<const char*>(code.data()), code.size());
  return handle;
}

NfsResult<std::string_view> NfsHandles::unseal(std::string_view handle) const {
  if (handle.size() < kOverhead || handle.size() > kNfsHandleMax || handle[0] != kLayout ||
      handle.size() != kOverhead + static_cast<uint8_t>(handle[1])) {
    return nfs_fail(NfsStatus::badhandle);
  }
  const std::string_view sealed = handle.substr(0, handle.size() - kCodeSize);
  const auto code = code_of(sealed);
  // In constant time: how much of a guess is right must not show.
  if (::sodium_memcmp(code.data(), raw(handle.substr(sealed.size())), kCodeSize) != 0)
    return nfs_fail(NfsStatus::stale);
  // The code is good, so it was ours; but perhaps of another export whose key was copied.
  if (std::memcmp(handle.data() + 2, &key_.export_id, sizeof key_.export_id) != 0) return nfs_fail(NfsStatus::stale);
  return sealed.substr(kHeadSize);
}

}  // namespace sluice
