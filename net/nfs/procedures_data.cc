// RFC 1813 3.3.6, 3.3.7, 3.3.21.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>

#include "net/nfs/service.h"

namespace sluice {
namespace {

enum class StableHow : uint32_t { unstable = 0, data_sync = 1, file_sync = 2 };

}  // namespace

std::optional<tl::expected<NfsReadTarget, NfsReadFailure>> NfsService::begin_read(NfsCall& call, Wait wait) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const uint64_t offset = call.arguments.u64();
  const uint32_t count = std::min(call.arguments.u32(), kNfsTransferMax);
  if (!call.arguments.ok()) return std::nullopt;
  const auto refuse = [](NfsStatus status, std::optional<struct stat> attributes = std::nullopt) {
    return tl::unexpected(NfsReadFailure{status, attributes});
  };
  if (call.options == nullptr) return refuse(NfsStatus::acces);
  if (wait == Wait::no) {
    const NfsFileRef file = files_.find(handle);
    if (file == nullptr) return refuse(NfsStatus::jukebox);
    const auto attributes = store_.known_getattr(file->number());
    if (!attributes || attributes->values.st_nlink == 0 ||
        !is_known_to_permit_data(call, *file, attributes->values, R_OK)) {
      return refuse(NfsStatus::jukebox);
    }
    auto opened = files_.opened(file->number(), NfsFileTable::Use::reading);
    if (opened == nullptr) return refuse(NfsStatus::jukebox);
    return NfsReadTarget{std::move(opened), attributes->values, offset, count};
  }
  const auto file = file_of(call, handle);
  if (!file) return refuse(file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return refuse(attributes.error());
  if (!S_ISREG(attributes->st_mode)) return refuse(NfsStatus::inval, *attributes);
  if (const auto permitted = permit_data(call, **file, R_OK); !permitted) return refuse(permitted.error(), *attributes);
  auto opened = files_.open((*file)->number(), NfsFileTable::Use::reading);
  if (!opened) return refuse(nfs_status_of(opened.error().number), *attributes);
  return NfsReadTarget{std::move(*opened), *attributes, offset, count};
}

void NfsService::write_read_failure(XdrWriter& reply, const NfsReadFailure& failure) {
  reply.u32(static_cast<uint32_t>(failure.status));
  write_post_attributes(reply, failure.attributes, fsid_);
}

void NfsService::write_read_head(XdrWriter& reply, const NfsReadTarget& target, uint64_t length) {
  struct stat attributes = target.attributes;
  const uint64_t end = target.offset + length;
  // The file may have grown since the attributes were asked for.
  attributes.st_size = std::max(attributes.st_size, static_cast<off_t>(length > 0 ? end : 0));
  const bool at_end = length == 0 ? target.count > 0 || target.offset >= static_cast<uint64_t>(attributes.st_size)
                                  : end >= static_cast<uint64_t>(attributes.st_size);
  reply.u32(static_cast<uint32_t>(NfsStatus::ok));
  write_post_attributes(reply, attributes, fsid_);
  reply.u32(static_cast<uint32_t>(length));
  reply.boolean(at_end);
  reply.u32(static_cast<uint32_t>(length));
}

void NfsService::write(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const uint64_t offset = call.arguments.u64();
  const uint32_t count = call.arguments.u32();
  const uint32_t stable = call.arguments.choice(3);
  std::string_view bytes;
  if (call.data != nullptr) {
    call.arguments.u32();
  } else {
    bytes = call.arguments.opaque(kNfsTransferMax);
  }
  if (call.arguments.ok()) writes_.fetch_add(1, std::memory_order_relaxed);
  const auto file = file_of(call, handle);
  if (!file) return fail(call, NfsProcedure::write, file.error());
  // As it was before: what is lost from now on may be this.
  const uint64_t verifier = write_verifier();
  size_t size = 0;
  Observed observed;
  const auto written = change_file(call, *file, observed, [&](const struct stat& before) -> NfsResult<> {
    if (!S_ISREG(before.st_mode)) return nfs_fail(NfsStatus::inval);
    auto data = take_data(call, offset, count, bytes);
    if (!data) return nfs_fail(data.error());
    const auto outcome = write_data(call, **file, std::move(*data));
    if (!outcome) return nfs_fail(outcome.error());
    size = *outcome;
    if (static_cast<StableHow>(stable) == StableHow::unstable) return {};
    return make_durable(**file, static_cast<StableHow>(stable) == StableHow::data_sync);
  });
  call.announcements.push_back({(*file)->number(), {}});
  call.reply.u32(static_cast<uint32_t>(written ? NfsStatus::ok : written.error()));
  write_wcc(call, observed);
  if (!written) return;
  call.reply.u32(static_cast<uint32_t>(size));
  call.reply.u32(stable);
  call.reply.u64(verifier);
}

NfsResult<std::unique_ptr<PreparedWrite>> NfsService::take_data(NfsCall& call, uint64_t offset, uint32_t count,
                                                                std::string_view bytes) {
  if (call.data != nullptr) return std::move(call.data);
  if (count > bytes.size()) return nfs_fail(NfsStatus::inval);
  if (offset > uint64_t{INT64_MAX} - count) return nfs_fail(NfsStatus::fbig);
  auto data = store_.prepare_write(offset, count);
  data->fill(bytes.substr(0, count));
  return data;
}

NfsResult<size_t> NfsService::write_data(NfsCall& call, const NfsFile& file, std::unique_ptr<PreparedWrite> data) {
  if (const auto permitted = permit_data(call, file, W_OK); !permitted) return nfs_fail(permitted.error());
  const auto change = files_.begin_change(file.number());
  if (!change) return nfs_fail(nfs_status_of(change.error().number));
  std::promise<Result<size_t>> done;
  change->data().write(std::move(data), set_id_bits_after_change_by(call.caller->uid),
                       [&done](Result<size_t> outcome) { done.set_value(outcome); });
  const Result<size_t> outcome = done.get_future().get();
  if (outcome) {
    write_bytes_.fetch_add(*outcome, std::memory_order_relaxed);
    return *outcome;
  }
  // What was written before, and is not durable, may have met the same end.
  if (outcome.error().number != EFBIG) renew_verifier();
  return nfs_fail(nfs_status_of(outcome.error().number));
}

// A failure renews the verifier: clients must not believe in anything that they were told was written.
NfsResult<> NfsService::make_durable(const NfsFile& file, bool data_only) {
  const auto synced = files_.sync(file.number(), data_only);
  if (!synced) return nfs_fail(nfs_status_of(synced.error().number));
  return {};
}

// Of the whole file, whatever the range: fsync(2) knows no other.
void NfsService::commit(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  call.arguments.u64();
  call.arguments.u32();
  const auto file = file_of(call, handle);
  if (!file) return fail(call, NfsProcedure::commit, file.error());
  Observed observed;
  const auto synced = change_file(call, *file, observed, [&](const struct stat& before) -> NfsResult<> {
    if (!S_ISREG(before.st_mode)) return nfs_fail(NfsStatus::inval);
    const auto permitted = permit_data(call, **file, W_OK);
    return permitted ? make_durable(**file, false) : permitted;
  });
  call.reply.u32(static_cast<uint32_t>(synced ? NfsStatus::ok : synced.error()));
  write_wcc(call, observed);
  // As it is afterwards: another client's COMMIT may have been told of a loss, and the verifier be another, just before
  // this one found that all is well.
  if (synced) call.reply.u64(write_verifier());
}

}  // namespace sluice
