// Request is one request of the kernel. It is answered exactly once, by whichever thread has the answer, with no lock
// held. Whoever owns the Request owes the answer; one that is destroyed without is answered EIO, because a process
// would wait for ever. A request that waits for the backing for too long is answered by PendingRequests; its owner's
// reply is then thrown away.
//
// A reply that hands out a reference (an entry, an open file) takes it back when it is thrown away, or the kernel no
// longer wants it, because the caller was killed meanwhile.
#pragma once

#include <string_view>
#include <utility>

#include "cache/result.h"
#include "fs/fuse/context.h"
#include "fs/fuse/libfuse.h"
#include "fs/fuse/pending.h"
#include "fs/store/store.h"

namespace sluice {

class Request {
 public:
  explicit Request(fuse_req_t request);
  Request(Request&& other) noexcept : context_(other.context_), pending_(std::exchange(other.pending_, nullptr)) {}
  Request& operator=(Request&&) = delete;
  ~Request();

  FuseContext& context() const { return *context_; }
  Store& store() const { return context_->store; }
  Caller caller() const;
  mode_t allowed_mode(mode_t mode) const;
  SetIdBits set_id_bits() const { return set_id_bits_after_change_by(pending_->caller().uid); }

  // A handler on a thread that is not to wait would have to: it is called again, on another thread.
  void call_again();
  void reply_none();
  void reply_error(Error error);
  void reply_done(const Result<void>& result);
  // ENOSYS: the kernel does not ask again.
  void reply_flushed(const Result<void>& result);
  void reply_entry(const Result<Entry>& result);
  // A name that may be absent: absence is an answer that the kernel may keep, if the options say so.
  void reply_lookup(const Result<Entry>& result);
  void reply_attributes(const Result<Attributes>& result);
#ifdef SLUICE_HAS_STATX
  void reply_statx(const Result<struct ::statx>& result, unsigned mask);
#endif
  void reply_readlink(const Result<std::string>& target);
  void reply_statfs(const Result<struct statvfs>& result);
  // Of getxattr and listxattr: `size` 0 asks for the length only.
  void reply_xattr(const Result<std::string>& value, size_t size);
  void reply_ioctl(const Result<std::string>& value);
  void reply_ioctl(const Result<void>& done);
  // False when the kernel no longer wants them.
  bool reply_bytes(std::string_view bytes);

  void reply_read(const Result<FileSlice>& slice);
  void reply_written(const Result<size_t>& bytes);
  void reply_offset(const Result<uint64_t>& offset);
  // `info` is what the kernel sent with the request.
  void reply_open(std::unique_ptr<OpenFile> file, fuse_file_info info);
  void reply_create(Result<Store::Created> created, fuse_file_info info);
  void reply_open_directory(Result<std::unique_ptr<OpenDirectory>> directory, fuse_file_info info);

 private:
  template <typename Send>
  bool send(Send send_to);
  void finish();
  void open_reply(fuse_file_info& info, std::unique_ptr<OpenFile> file, bool is_new);

  FuseContext* context_;
  PendingRequest* pending_;       // nullptr once answered
  bool is_handlers_own_ = false;  // made by the handler, on whose thread it stays
};

// The kernel's view of an entry, with the timeouts of the options.
fuse_entry_param entry_param(const FuseOptions& options, const Entry& entry);

}  // namespace sluice
