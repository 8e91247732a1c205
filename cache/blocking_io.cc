#include "cache/blocking_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

namespace sluice {
namespace {

// Bytes or a negative errno.
int64_t execute(const DiskOperation& operation) {
  const auto offset = static_cast<off_t>(operation.offset);
  const auto count = static_cast<int>(operation.buffers.size());
  const auto length = static_cast<off_t>(operation.length);
  int64_t result = -1;
  switch (operation.kind) {
    case DiskOperation::Kind::read: result = ::preadv(operation.fd, operation.buffers.data(), count, offset); break;
    case DiskOperation::Kind::write: result = ::pwritev(operation.fd, operation.buffers.data(), count, offset); break;
    case DiskOperation::Kind::write_back:
      result = ::sync_file_range(operation.fd, offset, length,
                                 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
      break;
    case DiskOperation::Kind::drop: return -::posix_fadvise(operation.fd, offset, length, POSIX_FADV_DONTNEED);
  }
  return result < 0 ? -errno : result;
}

}  // namespace

void run_blocking(Transfer& transfer) {
  while (!transfer.finished()) transfer.on_result(execute(transfer.next()));
}

Result<size_t> write_blocking(DiskRequest request, DiskCounters& counters) {
  Result<size_t> outcome = 0;
  request.done = [&outcome](Result<size_t> result) { outcome = std::move(result); };
  Transfer transfer(Transfer::Direction::write, std::move(request));
  run_blocking(transfer);
  counters.count(transfer);
  transfer.run_done();
  return outcome;
}

}  // namespace sluice
