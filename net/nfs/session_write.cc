// WRITE, of which the data go from the loop's buffer to where the store will have them: no other copy is made of them,
// and a call of a megabyte is not gathered first.
#include <algorithm>
#include <utility>

#include "net/nfs/session.h"

namespace sluice {
namespace {

struct WriteHead {
  size_t size = 0;  // of the record, up to the data
  uint64_t offset = 0;
  uint32_t count = 0;  // to be written
  uint32_t length = 0;
};

// Of a record of which so much is there. Nothing: not all of the head, no WRITE, or one that is for the service to
// refuse.
std::optional<WriteHead> parse_write_head(std::string_view start, size_t record_length) {
  uint32_t xid = 0;
  const auto call = parse_rpc_call(start, &xid);
  if (!call || call->program != kNfsProgram || call->version != kNfsVersion ||
      call->procedure != static_cast<uint32_t>(NfsProcedure::write))
    return std::nullopt;
  XdrReader arguments(call->arguments);
  WriteHead head;
  arguments.opaque(kNfsHandleMax);
  head.offset = arguments.u64();
  head.count = arguments.u32();
  arguments.u32();
  head.length = arguments.u32();
  head.size = start.size() - arguments.rest().size();
  if (!arguments.ok() || head.length > kNfsTransferMax || head.count > head.length || head.count == 0 ||
      head.offset > INT64_MAX - kNfsTransferMax || record_length != head.size + head.length + xdr_padding(head.length))
    return std::nullopt;
  return head;
}

}  // namespace

// Returns how much of the record it has taken, all up to the data; 0: it is to be taken as a whole.
size_t NfsSession::begin_write(std::string_view record, size_t record_length) {
  const auto head = parse_write_head(record.substr(0, record_length), record_length);
  if (!head) return 0;
  write_ = {.record = std::string(record.substr(0, head->size)),
            .data = shared_.store.prepare_write(head->offset, head->count),
            .unused = head->length - head->count + xdr_padding(head->length)};
  return head->size;
}

size_t NfsSession::take_write(std::string_view bytes) {
  const size_t data = std::min<size_t>(bytes.size(), write_->data->missing());
  write_->data->fill(bytes.substr(0, data));
  const size_t unused = std::min(bytes.size() - data, write_->unused);
  write_->unused -= unused;
  if (write_->data->missing() == 0 && write_->unused == 0) {
    ArrivingWrite write = std::move(*write_);
    write_.reset();
    handle(write.record, std::move(write.data));
  }
  return data + unused;
}

}  // namespace sluice
