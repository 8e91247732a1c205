// What lsattr(1) and chattr(1) read and set. It needs an open file, and only files and directories have it.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "fs/store/identity.h"
#include "fs/store/path.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

struct Commands {
  unsigned long get;
  unsigned long set;
  size_t value_bytes;  // the commands' own numbers may say more, for the history of the first two
};

Commands commands_of(InodeFlagsForm form) {
  switch (form) {
    case InodeFlagsForm::flags: return {FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, sizeof(unsigned)};
    case InodeFlagsForm::extended: break;
  }
  return {FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, sizeof(struct fsxattr)};
}

Result<UniqueFd> open_to_ask(int path_fd) {
  const Statx attributes = TRY(read_statx(path_fd));
  if (!S_ISREG(attributes.stx_mode) && !S_ISDIR(attributes.stx_mode)) return fail(ENOTTY);
  UniqueFd opened(::open(ProcPath(path_fd).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!opened) return fail(errno);
  return opened;
}

}  // namespace

Result<std::string> StoreImpl::inode_flags(InodeNumber number, InodeFlagsForm form) {
  const Subject file = TRY(subject(number));
  const UniqueFd opened = TRY(open_to_ask(file.get()));
  const Commands commands = commands_of(form);
  std::string value(sizeof(struct fsxattr), '\0');
  if (::ioctl(opened.get(), commands.get, value.data()) != 0) return fail(errno);
  value.resize(commands.value_bytes);
  return value;
}

Result<void> StoreImpl::set_inode_flags(const Caller& caller, InodeNumber number, InodeFlagsForm form,
                                        std::string_view value) {
  TRY(check_writable());
  const Commands commands = commands_of(form);
  if (value.size() != commands.value_bytes) return fail(EINVAL);
  std::string given(value);
  const Subject file = TRY(subject(number));
  const UniqueFd opened = TRY(open_to_ask(file.get()));
  // What was written before must not meet a file that may not be changed any more.
  TRY(write_back(file.inode));
  return change_through_data(&file, nullptr, [&]() -> Result<void> {
    const ActAs identity(caller);
    TRY(identity.ready());
    if (::ioctl(opened.get(), commands.set, given.data()) != 0) return fail(errno);
    return {};
  });
}

}  // namespace sluice
