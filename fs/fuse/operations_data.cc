// Files and their data. A cache hit is answered inside the handler; a miss, and every write, by the thread that
// completes it.
#include <errno.h>
#include <fcntl.h>

#include <future>

#include "fs/fuse/operations.h"
#include "fs/fuse/reply.h"

namespace sluice {
namespace {

// Of the kernel's flags those that mean something to the store. The kernel has dealt with names and modes; O_SYNC comes
// with each write.
constexpr int kOpenFlags = O_ACCMODE | O_APPEND | O_DIRECT | O_NOATIME;
constexpr int kOpenForExecution = 040;  // __FMODE_EXEC; open(2) does not accept it from a program

thread_local OutsideChangeWatch* current_watch = nullptr;

// A program may be executable without being readable. The kernel has checked the x bit.
Caller opener(const Request& request, int flags) {
  return flags & kOpenForExecution ? Caller{} : request.caller();
}

// The kernel has attributes of the file from before the change, and the program that opens it would see them with the
// new data. So the kernel forgets them before it learns that the file is open.
void reply_after_invalidation(Request request, InodeNumber number, std::unique_ptr<OpenFile> file,
                              fuse_file_info info) {
  Notifier& attributes = request.context().attributes;
  attributes.invalidate_then(number, [request = std::move(request), file = std::move(file), info]() mutable {
    request.reply_open(std::move(file), info);
  });
}

void open(fuse_req_t handle, fuse_ino_t number, fuse_file_info* info) noexcept {
  Request request(handle);
  OutsideChangeWatch watch(number);
  // The kernel may have come by a name it remembers. On ESTALE it looks the path up anew and opens again.
  auto file = request.store().open_named(opener(request, info->flags), number, info->flags & kOpenFlags);
  if (!file) return request.reply_error(file.error());
  if (watch.has_noticed() || request.context().attributes.is_waiting(number))
    return reply_after_invalidation(std::move(request), number, std::move(*file), *info);
  request.reply_open(std::move(*file), *info);
}

void create(fuse_req_t handle, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) noexcept {
  Request request(handle);
  const int flags = (info->flags & kOpenFlags) | O_CREAT | (info->flags & O_EXCL);
  request.reply_create(request.store().create(request.caller(), parent, name, request.allowed_mode(mode), flags),
                       *info);
}

#ifdef SLUICE_HAS_TMPFILE
void tmpfile(fuse_req_t handle, fuse_ino_t parent, mode_t mode, fuse_file_info* info) noexcept {
  Request request(handle);
  const int flags = (info->flags & kOpenFlags) | (info->flags & O_EXCL);
  request.reply_create(request.store().create_nameless(request.caller(), parent, request.allowed_mode(mode), flags),
                       *info);
}
#endif

void release(fuse_req_t handle, fuse_ino_t, fuse_file_info* info) noexcept {
  Request request(handle);
  request.context().files.remove(info->fh);
  request.reply_done({});
}

void read(fuse_req_t handle, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  file->read(
      static_cast<uint64_t>(offset), size,
      [request = std::move(request), file](const Result<FileSlice>& slice) mutable { request.reply_read(slice); });
}

struct Write {
  uint64_t offset;
  std::string_view bytes;
  int flags;  // of open(2), as they are at this write: fcntl can turn O_APPEND on and off
  WriteOptions options;
};

// Under FOPEN_DIRECT_IO the kernel sends no fsync after a write with O_SYNC, O_DSYNC or RWF_DSYNC. fsync blocks, and
// this thread may.
Result<size_t> write_durably(OpenFile& file, const Write& write) {
  std::promise<Result<size_t>> promise;
  auto written = promise.get_future();
  file.data().write(write.offset, write.bytes, write.options,
                    [promise = std::move(promise)](Result<size_t> bytes) mutable { promise.set_value(bytes); });
  const size_t bytes = TRY(written.get());
  const bool data_only = (write.flags & O_SYNC) != O_SYNC;
  TRY(file.fsync(data_only));
  return bytes;
}

void write(fuse_req_t handle, fuse_ino_t, const char* bytes, size_t size, off_t offset, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  // A page written by mmap has its own place, whatever handle the kernel chose for it.
  const bool append = (info->flags & O_APPEND) != 0 && !info->writepage;
  const Write write{static_cast<uint64_t>(offset), {bytes, size}, info->flags, {append, request.set_id_bits()}};
  if ((info->flags & O_DSYNC) != 0) return request.reply_written(write_durably(*file, write));  // O_SYNC includes it
  const bool is_write_back = info->writepage;
  file->data().write(write.offset, write.bytes, write.options,
                     [request = std::move(request), file, is_write_back](Result<size_t> written) mutable {
                       // The program wrote to memory, and may have gone.
                       if (is_write_back && !written) file->data().note_write_error(written.error().number);
                       request.reply_written(written);
                     });
}

void fsync(fuse_req_t handle, fuse_ino_t, int data_only, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  request.reply_done(file->fsync(data_only != 0));
}

// A write has reached the backing before it is answered. What close() adds is what network and FUSE file systems say
// only then; where nothing is to be said the kernel stops asking after the first time.
void flush(fuse_req_t handle, fuse_ino_t, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  request.reply_flushed(file->flush());
}

void fallocate(fuse_req_t handle, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  const Allocation allocation{mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(length),
                              request.set_id_bits()};
  request.reply_done(file->data().allocate(allocation));
}

// The kernel copies by itself, through us, when we say EOPNOTSUPP or EXDEV.
void copy_file_range(fuse_req_t handle, fuse_ino_t, off_t source_offset, fuse_file_info* source_info, fuse_ino_t,
                     off_t offset, fuse_file_info* info, size_t length, int flags) noexcept {
  Request request(handle);
  if (flags != 0) return request.reply_error({EINVAL});
  const auto source = HandleTable<FileHandle>::get(source_info->fh).file;
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  const CopiedRange range{static_cast<uint64_t>(source_offset), static_cast<uint64_t>(offset), length,
                          request.set_id_bits()};
  request.reply_written(file->data().copy_from(source->data(), range));
}

void lseek(fuse_req_t handle, fuse_ino_t, off_t offset, int whence, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto file = HandleTable<FileHandle>::get(info->fh).file;
  request.reply_offset(file->data().seek(static_cast<uint64_t>(offset), whence));
}

}  // namespace

OutsideChangeWatch::OutsideChangeWatch(InodeNumber number) : number_(number) {
  current_watch = this;
}

OutsideChangeWatch::~OutsideChangeWatch() {
  current_watch = nullptr;
}

bool OutsideChangeWatch::notice(InodeNumber number) {
  if (current_watch == nullptr || current_watch->number_ != number) return false;
  current_watch->has_noticed_ = true;
  return true;
}

void add_data_operations(fuse_lowlevel_ops& operations) {
  operations.open = open;
  operations.create = create;
#ifdef SLUICE_HAS_TMPFILE
  operations.tmpfile = tmpfile;
#endif
  operations.release = release;
  operations.read = read;
  operations.write = write;
  operations.fsync = fsync;
  operations.flush = flush;
  operations.fallocate = fallocate;
  operations.copy_file_range = copy_file_range;
  operations.lseek = lseek;
}

}  // namespace sluice
