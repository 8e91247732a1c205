// READ, of which the data come from the cache or the disk without a thread waiting for them.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/store/backing_health.h"
#include "net/nfs/session.h"
#include "net/nfs/session_ticket.h"

namespace sluice {
namespace {

constexpr uint64_t kCopiedReadMax = 8 << 10;  // data that go with the reply's head into one buffer
constexpr uint32_t kReadAttemptsMax = 3;      // of files that change under each of them

// Data that leave in one piece, before they can change: small ones, and all that changed before they were sent; where
// somebody writes all the time they would never be.
uint64_t copied_max(uint32_t attempts) {
  return attempts > 0 ? kNfsTransferMax : kCopiedReadMax;
}

void append_bytes(std::string& to, const FileSlice& slice) {
  uint64_t skip = slice.skip, left = slice.length;
  const Arena& arena = *slice.pages.arena();
  for (const FrameRun& run : slice.pages.runs()) {
    const uint64_t size = uint64_t{run.count} * kPageSize;
    if (skip < size && left > 0) {
      const uint64_t part = std::min(left, size - skip);
      to.append(arena.address(run.first) + skip, part);
      left -= part;
      skip = 0;
    } else {
      skip -= std::min(skip, size);
    }
  }
}

}  // namespace

void NfsSession::begin_read(ReadCall call) {
  lone_calls_ = 0;
  NfsCall prepared = call.client.prepare(call.arguments);
  const auto target = shared_.service.begin_read(prepared, NfsService::Wait::no);
  if (!target) return refuse(call.xid, RpcError::garbage_arguments);
  if (*target) return read(std::move(call), **target);
  begin_read_elsewhere(std::move(call));
}

void NfsSession::begin_read_elsewhere(ReadCall call) {
  auto ticket = std::make_shared<Ticket>(this, call.arguments.size());
  auto task = [shared = &shared_, ticket, call]() mutable {
    const BackingCall backing(shared->options.health, BackingUser::nfs, BackingUse::look);
    NfsCall prepared = call.client.prepare(call.arguments);
    auto target = shared->service.begin_read(prepared, NfsService::Wait::yes);
    ticket->back([call = std::move(call), target = std::move(target)](NfsSession& session) mutable {
      if (!*target) return session.fail_read(call, target->error());
      session.read(std::move(call), **target);
    });
  };
  if (shared_.pool->submit(std::move(task))) return;
  ticket->back([call = std::move(call)](NfsSession& session) { session.fail_read(call, {NfsStatus::jukebox, {}}); });
}

void NfsSession::fail_read(const ReadCall& call, const NfsReadFailure& failure) {
  XdrWriter reply;
  begin_rpc_reply(reply, call.xid);
  shared_.service.write_read_failure(reply, failure);
  end_rpc_reply(reply);
  answer(reply.take());
}

struct NfsSession::PendingRead {
  ReadCall call;
  NfsReadTarget target;
  uint64_t length = 0;  // of the data, and of what is read of them first
  uint64_t first_length = 0;
  std::shared_ptr<const ChangeWatch> watch;
  Ticket ticket;
  // Of the loop's thread:
  bool is_asking = true;
  std::optional<Result<FileSlice>> arrived;  // meanwhile
};

// The data first, so that the calls of one connection do not wait for each other's; what is sent at once need not be
// looked up again.
void NfsSession::read(ReadCall call, NfsReadTarget target) {
  const uint64_t size = target.file->data().size();
  const uint64_t length = target.offset < size ? std::min<uint64_t>(target.count, size - target.offset) : 0;
  NfsCounters::count(shared_.counters.reads);
  NfsCounters::count(shared_.counters.read_bytes, length);
  auto pending = std::make_shared<PendingRead>(PendingRead{.call = std::move(call),
                                                           .target = std::move(target),
                                                           .length = length,
                                                           .first_length = 0,
                                                           .watch = nullptr,
                                                           .ticket = Ticket(this, 0),
                                                           .arrived = std::nullopt});
  if (length == 0) {
    pending->ticket.cancel();
    return send_read(*pending, FileSlice{});
  }
  OpenFile& file = *pending->target.file;
  const bool is_copied = length <= copied_max(pending->call.attempts);
  if (!is_copied) pending->watch = file.data().watch();
  pending->first_length = is_copied ? length : SendPath::first_slice(pending->target.offset, length);
  file.read(pending->target.offset, pending->first_length, [loop = &loop(), pending](Result<FileSlice> slice) {
    if (loop->in_thread() && pending->is_asking) {
      pending->arrived = std::move(slice);
      return;
    }
    pending->ticket.back([pending, slice = std::move(slice)](NfsSession& session) mutable {
      session.send_read(*pending, std::move(slice));
    });
  });
  pending->is_asking = false;
  if (!pending->arrived) return;
  pending->ticket.cancel();
  send_read(*pending, std::move(*pending->arrived));
}

void NfsSession::send_read(PendingRead& read, Result<FileSlice> slice) {
  if (!slice) return read_again(std::move(read.call), slice.error().number, read.target.attributes);
  const NfsReadTarget& target = read.target;
  const uint64_t length = slice->length < read.first_length ? slice->length : read.length;
  XdrWriter head;
  begin_rpc_reply(head, read.call.xid);
  shared_.service.write_read_head(head, target, length);
  const size_t padding = xdr_padding(length);
  end_rpc_reply(head, length + padding);
  if (length <= copied_max(read.call.attempts) && length == slice->length) {
    std::string reply = head.take();
    reply.reserve(reply.size() + length + padding);
    if (length > 0) append_bytes(reply, *slice);
    reply.append(padding, '\0');
    return answer(std::move(reply));
  }
  flush();
  Reply reply{.head = head.take(),
              .file = target.file,
              .offset = target.offset,
              .length = length,
              .watch = read.watch != nullptr ? std::move(read.watch) : target.file->data().watch(),
              .tail = std::string(padding, '\0'),
              .slice = std::move(*slice)};
  give({.calls = 1, .bytes = 0, .read = std::move(read.call)}, std::move(reply));
}

// The file changed before any of it was sent: the client gets what it is now. In the middle nothing but the
// connection's end says so; the client then asks again.
void NfsSession::on_reply_lost(int error, bool begun) {
  if (begun) return close(true);
  ReadCall call = std::move(*sent_.front().read);
  held_bytes_ -= sent_.front().bytes;
  sent_.pop_front();
  read_again(std::move(call), error, std::nullopt);
}

// ESTALE: the file changed, or ended early. Whether it is there still is for its attributes to say.
void NfsSession::read_again(ReadCall call, int error, const std::optional<struct stat>& attributes) {
  if (++call.attempts < kReadAttemptsMax && error == ESTALE) return begin_read_elsewhere(std::move(call));
  fail_read(call, {error == ESTALE ? NfsStatus::jukebox : nfs_status_of(error), attributes});
}

}  // namespace sluice
