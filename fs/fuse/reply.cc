#include "fs/fuse/reply.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "cache/assert.h"
#include "fs/store/version.h"

namespace sluice {
namespace {

// The store has known it for a while already.
double left_of(double timeout, std::chrono::nanoseconds age) {
  return std::max(0.0, timeout - std::chrono::duration<double>(age).count());
}

// Set-id files are looked at every time: a write through any descriptor clears the bits on the backing, and the kernel,
// which is not told, would go on executing with them until the timeout.
double attribute_timeout(const FuseOptions& options, const struct stat& attributes, std::chrono::nanoseconds age) {
  const bool has_set_id = S_ISREG(attributes.st_mode) && (attributes.st_mode & (S_ISUID | S_ISGID)) != 0;
  return has_set_id ? 0 : left_of(options.attr_timeout, age);
}

struct stat shown(const FuseOptions& options, struct stat attributes) {
  attributes.st_uid = options.uid.value_or(attributes.st_uid);
  attributes.st_gid = options.gid.value_or(attributes.st_gid);
  if (options.umask) attributes.st_mode = (attributes.st_mode & S_IFMT) | (0777 & ~*options.umask);
  return attributes;
}

// The kernel takes ENOSYS for "this daemon never has that operation" and does not ask again; a backing means one file.
// ETIMEDOUT is a backing that hangs; programs know EIO. EINTR comes from the backing as well: who got no signal would
// call again, for ever, or find that the half of the call that was done (a create) is in its way.
int reply_code(Error error) {
  switch (error.number) {
    case ENOSYS: return EOPNOTSUPP;
    case ETIMEDOUT:
    case EINTR: return EIO;
    default: return error.number;
  }
}

}  // namespace

fuse_entry_param entry_param(const FuseOptions& options, const Entry& entry) {
  fuse_entry_param param{};
  param.ino = entry.number;
  param.generation = 0;  // numbers are never reused
  param.attr = shown(options, entry.attributes);
  param.attr_timeout = attribute_timeout(options, entry.attributes, entry.age);
  param.entry_timeout = left_of(options.entry_timeout, entry.age);
  return param;
}

Request::Request(fuse_req_t request)
    : context_(static_cast<FuseContext*>(fuse_req_userdata(request))),
      pending_(context_->pending.begin(request)),
      is_handlers_own_(true) {
  count(context_->counters.requests);
  count(context_->in_flight);
  context_->health.begin_call(BackingUser::fuse);
}

Request::~Request() {
  if (pending_ != nullptr) reply_error({EIO});
  if (is_handlers_own_) BackingHealth::end_call();
}

Caller Request::caller() const {
  if (!shows_other_identity(context_->options)) return caller_of(pending_->caller(), context_->groups);
  return {.uid = 0, .gid = 0, .groups = {}, .umask = pending_->caller().umask};
}

// Who acts as the gateway without being root shall not leave programs on the backing that run as the gateway.
mode_t Request::allowed_mode(mode_t mode) const {
  const bool trusted = pending_->caller().uid == 0 || !shows_other_identity(context_->options);
  return trusted ? mode : mode & ~static_cast<mode_t>(S_ISUID | S_ISGID);
}

// False: the reply was thrown away, or the kernel does not want it.
template <typename Send>
bool Request::send(Send send_to) {
  ASSERT(pending_ != nullptr);
  const fuse_req_t request = pending_->take();
  return request != nullptr && send_to(request) == 0;
}

// The last thing that a request does: afterwards the session may end.
void Request::finish() {
  context_->pending.end(std::exchange(pending_, nullptr));
  if (context_->in_flight.fetch_sub(1) == 1) context_->in_flight.notify_all();
}

void Request::call_again() {
  const bool was_open = send([](fuse_req_t to) {
    fuse_reply_none(to);
    return 0;
  });
  if (was_open) {
    context_->counters.requests.fetch_sub(1, std::memory_order_relaxed);
    FuseRing::call_again();
  }
  finish();
}

void Request::reply_none() {
  send([](fuse_req_t to) {
    fuse_reply_none(to);
    return 0;
  });
  finish();
}

void Request::reply_error(Error error) {
  if (error.number == EWOULDBLOCK && BackingHealth::is_without_calls()) return call_again();
  count(context_->counters.errors);
  context_->health.note_error(error.number);
  send([&](fuse_req_t to) { return fuse_reply_err(to, reply_code(error)); });
  finish();
}

void Request::reply_done(const Result<void>& result) {
  if (!result) return reply_error(result.error());
  send([&](fuse_req_t to) { return fuse_reply_err(to, 0); });
  finish();
}

void Request::reply_flushed(const Result<void>& result) {
  if (result || result.error().number != ENOSYS) return reply_done(result);
  send([](fuse_req_t to) { return fuse_reply_err(to, ENOSYS); });
  finish();
}

void Request::reply_entry(const Result<Entry>& result) {
  if (!result) return reply_error(result.error());
  const fuse_entry_param param = entry_param(context_->options, *result);
  if (!send([&](fuse_req_t to) { return fuse_reply_entry(to, &param); })) store().forget(result->number, 1);
  finish();
}

void Request::reply_lookup(const Result<Entry>& result) {
  const double timeout = context_->options.negative_timeout;
  if (result || result.error().number != ENOENT || timeout <= 0) return reply_entry(result);
  fuse_entry_param absent{};
  absent.entry_timeout = timeout;
  send([&](fuse_req_t to) { return fuse_reply_entry(to, &absent); });
  finish();
}

void Request::reply_attributes(const Result<Attributes>& result) {
  if (!result) return reply_error(result.error());
  const FuseOptions& options = context_->options;
  const struct stat attributes = shown(options, result->values);
  send([&](fuse_req_t to) {
    return fuse_reply_attr(to, &attributes, attribute_timeout(options, result->values, result->age));
  });
  finish();
}

#ifdef SLUICE_HAS_STATX
void Request::reply_statx(const Result<struct ::statx>& result, unsigned mask) {
  if (!result) return reply_error(result.error());
  const FuseOptions& options = context_->options;
  const struct stat attributes = shown(options, to_stat(*result));
  struct ::statx reply = *result;
  reply.stx_mask &= mask | STATX_BASIC_STATS;  // the kernel takes the basic ones all together
  reply.stx_uid = attributes.st_uid;
  reply.stx_gid = attributes.st_gid;
  reply.stx_mode = static_cast<uint16_t>(attributes.st_mode);
  send([&](fuse_req_t to) { return fuse_reply_statx(to, 0, &reply, attribute_timeout(options, attributes, {})); });
  finish();
}
#endif

void Request::reply_readlink(const Result<std::string>& target) {
  if (!target) return reply_error(target.error());
  send([&](fuse_req_t to) { return fuse_reply_readlink(to, target->c_str()); });
  finish();
}

void Request::reply_statfs(const Result<struct statvfs>& result) {
  if (!result) return reply_error(result.error());
  send([&](fuse_req_t to) { return fuse_reply_statfs(to, &*result); });
  finish();
}

void Request::reply_xattr(const Result<std::string>& value, size_t size) {
  if (!value) return reply_error(value.error());
  if (size != 0 && value->size() > size) return reply_error({ERANGE});
  if (size != 0) {
    reply_bytes(*value);
    return;
  }
  send([&](fuse_req_t to) { return fuse_reply_xattr(to, value->size()); });
  finish();
}

void Request::reply_ioctl(const Result<std::string>& value) {
  if (!value) return reply_error(value.error());
  send([&](fuse_req_t to) { return fuse_reply_ioctl(to, 0, value->data(), value->size()); });
  finish();
}

void Request::reply_ioctl(const Result<void>& done) {
  if (!done) return reply_error(done.error());
  reply_ioctl(std::string());
}

bool Request::reply_bytes(std::string_view bytes) {
  const bool is_wanted = send([&](fuse_req_t to) { return fuse_reply_buf(to, bytes.data(), bytes.size()); });
  finish();
  return is_wanted;
}

void Request::reply_read(const Result<FileSlice>& slice) {
  if (!slice) return reply_error(slice.error());
  thread_local std::vector<iovec> parts;
  parts.clear();
  if (slice->length > 0) slice->pages.append_iovecs(slice->skip, slice->length, parts);
  count(context_->counters.reads);
  count(context_->counters.read_bytes, slice->length);
  send([&](fuse_req_t to) { return fuse_reply_iov(to, parts.data(), static_cast<int>(parts.size())); });
  finish();
}

void Request::reply_written(const Result<size_t>& bytes) {
  if (!bytes) return reply_error(bytes.error());
  count(context_->counters.writes);
  count(context_->counters.write_bytes, *bytes);
  send([&](fuse_req_t to) { return fuse_reply_write(to, *bytes); });
  finish();
}

void Request::reply_offset(const Result<uint64_t>& offset) {
  if (!offset) return reply_error(offset.error());
  send([&](fuse_req_t to) { return fuse_reply_lseek(to, static_cast<off_t>(*offset)); });
  finish();
}

// What the kernel keeps of the data: nothing, or what it must for mmap on old kernels, dropped at every open.
void Request::open_reply(fuse_file_info& info, std::unique_ptr<OpenFile> file, bool is_new) {
  const FileVersion version = file->data().version();
  KernelCache::Opened opened = context_->kernel_cache.opened(file->inode(), is_new ? nullptr : &version);
  info.keep_cache = opened.keeps_pages;
  info.direct_io = !opened.cached && context_->direct_io.load(std::memory_order_relaxed);
  const bool writes = (info.flags & O_ACCMODE) != O_RDONLY;
  info.noflush = !writes;
  Writers::Open writer = writes ? context_->writers.opened(file->inode()) : Writers::Open();
  info.fh = context_->files.add({std::move(file), std::move(opened.open), std::move(writer)});
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
  info.parallel_direct_writes = 1;  // the store orders overlapping writes
#endif
}

void Request::reply_open(std::unique_ptr<OpenFile> file, fuse_file_info info) {
  open_reply(info, std::move(file), false);
  if (!send([&](fuse_req_t to) { return fuse_reply_open(to, &info); })) context_->files.remove(info.fh);
  finish();
}

void Request::reply_create(Result<Store::Created> created, fuse_file_info info) {
  if (!created) return reply_error(created.error());
  const fuse_entry_param param = entry_param(context_->options, created->entry);
  open_reply(info, std::move(created->file), true);
  if (!send([&](fuse_req_t to) { return fuse_reply_create(to, &param, &info); })) {
    context_->files.remove(info.fh);
    store().forget(param.ino, 1);
  }
  finish();
}

void Request::reply_open_directory(Result<std::unique_ptr<OpenDirectory>> directory, fuse_file_info info) {
  if (!directory) return reply_error(directory.error());
  info.fh = context_->directories.add({std::move(*directory)});
  if (!send([&](fuse_req_t to) { return fuse_reply_open(to, &info); })) context_->directories.remove(info.fh);
  finish();
}

}  // namespace sluice
