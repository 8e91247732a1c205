// A file system that fails as it is told: the directory SOURCE, shown at MOUNTPOINT by FUSE, for tests that need a
// backing which hangs (stop this process), goes away (kill it), is slow, or answers a call with an error.
//
//   faulty_fs SOURCE MOUNTPOINT CONTROL
//
// CONTROL is a file of 48 bytes that both sides map, six numbers of 64 bits: the calls counted so far; the call that
// fails (0: none); its error (0: reads and writes come short, half of what was asked); whether all later ones fail as
// well; a mask of the kinds of calls that count; and how many microseconds each of those takes. One thread, nothing
// cached by the kernel: so the n-th call of a fixed workload is the same one each time.
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace {

struct Control {
  volatile uint64_t calls;
  volatile uint64_t fails_at;
  volatile uint64_t error;
  volatile uint64_t for_good;
  volatile uint64_t kinds;
  volatile uint64_t delay_us;
};
Control* control;
int root = -1;

enum Kind : uint64_t { kLook = 1, kChange = 2, kRead = 4, kWrite = 8, kSync = 16, kFlush = 32 };

// The error of this call, 0 for none, -1: it comes short.
int fault(Kind kind) {
  if ((control->kinds & kind) == 0) return 0;
  const uint64_t number = control->calls + 1;
  control->calls = number;
  if (control->delay_us != 0) ::usleep(static_cast<useconds_t>(control->delay_us));
  const bool fails =
      control->fails_at != 0 && (number == control->fails_at || (control->for_good != 0 && number > control->fails_at));
  if (!fails) return 0;
  if (control->error != 0) return static_cast<int>(control->error);
  return kind == kRead || kind == kWrite ? -1 : 0;
}

const char* below(const char* path) {
  return path[1] == 0 ? "." : path + 1;
}

int outcome(int result) {
  return result == -1 ? -errno : result;
}

#define FAIL_AS_TOLD(kind) \
  if (const int told = fault(kind); told > 0) return -told

std::string proc_path(const char* path, int* fd) {
  *fd = ::openat(root, below(path), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return "/proc/self/fd/" + std::to_string(*fd);
}

int get_attributes(const char* path, struct stat* attributes, fuse_file_info* info) {
  FAIL_AS_TOLD(kLook);
  if (info != nullptr) return outcome(::fstat(static_cast<int>(info->fh), attributes));
  return outcome(::fstatat(root, below(path), attributes, AT_SYMLINK_NOFOLLOW));
}

int read_link(const char* path, char* target, size_t size) {
  FAIL_AS_TOLD(kLook);
  const ssize_t length = ::readlinkat(root, below(path), target, size - 1);
  if (length == -1) return -errno;
  target[length] = 0;
  return 0;
}

int make_node(const char* path, mode_t mode, dev_t device) {
  FAIL_AS_TOLD(kChange);
  return outcome(::mknodat(root, below(path), mode, device));
}

int make_directory(const char* path, mode_t mode) {
  FAIL_AS_TOLD(kChange);
  return outcome(::mkdirat(root, below(path), mode));
}

int remove_file(const char* path) {
  FAIL_AS_TOLD(kChange);
  return outcome(::unlinkat(root, below(path), 0));
}

int remove_directory(const char* path) {
  FAIL_AS_TOLD(kChange);
  return outcome(::unlinkat(root, below(path), AT_REMOVEDIR));
}

int make_symlink(const char* target, const char* path) {
  FAIL_AS_TOLD(kChange);
  return outcome(::symlinkat(target, root, below(path)));
}

int rename_file(const char* from, const char* to, unsigned flags) {
  FAIL_AS_TOLD(kChange);
  return outcome(::renameat2(root, below(from), root, below(to), flags));
}

int link_file(const char* from, const char* to) {
  FAIL_AS_TOLD(kChange);
  return outcome(::linkat(root, below(from), root, below(to), 0));
}

int change_mode(const char* path, mode_t mode, fuse_file_info*) {
  FAIL_AS_TOLD(kChange);
  return outcome(::fchmodat(root, below(path), mode, 0));
}

int change_owner(const char* path, uid_t uid, gid_t gid, fuse_file_info*) {
  FAIL_AS_TOLD(kChange);
  return outcome(::fchownat(root, below(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

int cut(const char* path, off_t size, fuse_file_info* info) {
  FAIL_AS_TOLD(kChange);
  if (info != nullptr) return outcome(::ftruncate(static_cast<int>(info->fh), size));
  const int fd = ::openat(root, below(path), O_WRONLY | O_CLOEXEC);
  if (fd == -1) return -errno;
  const int result = outcome(::ftruncate(fd, size));
  ::close(fd);
  return result;
}

int set_times(const char* path, const struct timespec times[2], fuse_file_info*) {
  FAIL_AS_TOLD(kChange);
  return outcome(::utimensat(root, below(path), times, AT_SYMLINK_NOFOLLOW));
}

int open_file(const char* path, fuse_file_info* info) {
  FAIL_AS_TOLD(kLook);
  const int fd = ::openat(root, below(path), (info->flags & (O_ACCMODE | O_TRUNC)) | O_NOFOLLOW | O_CLOEXEC);
  if (fd == -1) return -errno;
  info->fh = static_cast<uint64_t>(fd);
  return 0;
}

int create_file(const char* path, mode_t mode, fuse_file_info* info) {
  FAIL_AS_TOLD(kChange);
  const int fd = ::openat(root, below(path), (info->flags & O_ACCMODE) | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd == -1) return -errno;
  info->fh = static_cast<uint64_t>(fd);
  return 0;
}

int read_file(const char*, char* bytes, size_t size, off_t offset, fuse_file_info* info) {
  const int told = fault(kRead);
  if (told > 0) return -told;
  const size_t wanted = told == -1 && size > 1 ? size / 2 : size;
  return outcome(static_cast<int>(::pread(static_cast<int>(info->fh), bytes, wanted, offset)));
}

int write_file(const char*, const char* bytes, size_t size, off_t offset, fuse_file_info* info) {
  const int told = fault(kWrite);
  if (told > 0) return -told;
  const size_t wanted = told == -1 && size > 1 ? size / 2 : size;
  return outcome(static_cast<int>(::pwrite(static_cast<int>(info->fh), bytes, wanted, offset)));
}

int file_system(const char*, struct statvfs* info) {
  FAIL_AS_TOLD(kLook);
  return outcome(::fstatvfs(root, info));
}

int release_file(const char*, fuse_file_info* info) {
  return outcome(::close(static_cast<int>(info->fh)));
}

int flush_file(const char*, fuse_file_info* info) {
  FAIL_AS_TOLD(kFlush);
  return outcome(::close(::dup(static_cast<int>(info->fh))));
}

int sync_file(const char*, int data_only, fuse_file_info* info) {
  FAIL_AS_TOLD(kSync);
  const int fd = static_cast<int>(info->fh);
  return outcome(data_only ? ::fdatasync(fd) : ::fsync(fd));
}

int allocate(const char*, int mode, off_t offset, off_t length, fuse_file_info* info) {
  FAIL_AS_TOLD(kChange);
  return outcome(::fallocate(static_cast<int>(info->fh), mode, offset, length));
}

int set_attribute(const char* path, const char* name, const char* value, size_t size, int flags) {
  FAIL_AS_TOLD(kChange);
  int fd;
  const int result = outcome(::setxattr(proc_path(path, &fd).c_str(), name, value, size, flags));
  ::close(fd);
  return result;
}

int get_attribute(const char* path, const char* name, char* value, size_t size) {
  FAIL_AS_TOLD(kLook);
  int fd;
  const int result = outcome(static_cast<int>(::getxattr(proc_path(path, &fd).c_str(), name, value, size)));
  ::close(fd);
  return result;
}

int list_directory(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*, fuse_readdir_flags) {
  FAIL_AS_TOLD(kLook);
  const int fd = ::openat(root, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const directory = fd == -1 ? nullptr : ::fdopendir(fd);
  if (directory == nullptr) return -errno;
  while (const dirent* entry = ::readdir(directory)) {
    struct stat attributes {};
    attributes.st_ino = entry->d_ino;
    attributes.st_mode = static_cast<mode_t>(entry->d_type) << 12;
    fill(buffer, entry->d_name, &attributes, 0, static_cast<fuse_fill_dir_flags>(0));
  }
  ::closedir(directory);
  return 0;
}

void* start(fuse_conn_info*, fuse_config* config) {
  config->use_ino = 1;
  config->entry_timeout = 0;
  config->attr_timeout = 0;
  config->negative_timeout = 0;
  config->hard_remove = 1;
  config->direct_io = 1;
  config->nullpath_ok = 0;
  ::umask(0);
  return nullptr;
}

fuse_operations operations() {
  fuse_operations all{};
  all.init = start;
  all.getattr = get_attributes;
  all.readlink = read_link;
  all.mknod = make_node;
  all.mkdir = make_directory;
  all.unlink = remove_file;
  all.rmdir = remove_directory;
  all.symlink = make_symlink;
  all.rename = rename_file;
  all.link = link_file;
  all.chmod = change_mode;
  all.chown = change_owner;
  all.truncate = cut;
  all.utimens = set_times;
  all.open = open_file;
  all.create = create_file;
  all.read = read_file;
  all.write = write_file;
  all.statfs = file_system;
  all.flush = flush_file;
  all.release = release_file;
  all.fsync = sync_file;
  all.fallocate = allocate;
  all.setxattr = set_attribute;
  all.getxattr = get_attribute;
  all.readdir = list_directory;
  return all;
}

Control* map_control(const char* path) {
  const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd == -1 || ::ftruncate(fd, sizeof(Control)) == -1) return nullptr;
  void* const mapped = ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<Control*>(mapped);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    ::fprintf(stderr, "usage: faulty_fs SOURCE MOUNTPOINT CONTROL\n");
    return 2;
  }
  root = ::open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  control = map_control(arguments[3]);
  if (root == -1 || control == nullptr) {
    ::perror("faulty_fs");
    return 1;
  }
  const fuse_operations all = operations();
  char foreground[] = "-f", one_thread[] = "-s", option[] = "-o",
       options[] = "allow_other,default_permissions,fsname=faulty";
  char* fuse_arguments[] = {arguments[0], foreground, one_thread, option, options, arguments[2], nullptr};
  return fuse_main(6, fuse_arguments, &all, nullptr);
}
