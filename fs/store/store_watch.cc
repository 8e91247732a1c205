// What others do to the files: counted at once, so that nothing known from before is believed any more; open files and
// kernels above us are seen to by the watch's own thread.
#include <sys/fanotify.h>

#include <utility>

#include "fs/store/store_impl.h"

namespace sluice {
namespace {

constexpr uint64_t kRemovals = FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;  // a move may replace what was there
constexpr uint64_t kCreations = FAN_CREATE | FAN_MOVED_TO;
constexpr size_t kUnsettledNamesMax = 4096;  // beyond, the kernel's own timeouts apply

}  // namespace

void StoreImpl::on_event(const OutsideEvent& event) {
  ChangeCounts& changes = metadata_.changes();
  const bool is_directory = (event.mask & FAN_ONDIR) != 0;
  if (is_directory && (event.mask & (kRemovals | FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF)) != 0)
    changes.count(kAnyDirectory);
  if ((event.mask & kRemovals) != 0) changes.count(kAnyRemoval);
  if ((event.mask & kCreations) != 0) changes.count(kAnyCreation);
  if ((event.mask & (kRemovals | kCreations)) != 0) on_name_event(event);
  if (event.object.empty()) return;
  const InodeRef object = table_.find_handle(event.object);
  if (object == nullptr) return;
  changes.count(change_key(object->number));
  MutexLock lock(&unsettled_mutex_);
  unsettled_.insert(object->number);
}

void StoreImpl::on_name_event(const OutsideEvent& event) {
  if (event.directory.empty()) return;
  const InodeRef directory = table_.find_handle(event.directory);
  if (directory == nullptr) return;
  metadata_.changes().count(change_key(directory->number));
  metadata_.changes().count(change_key(directory->number, event.name));
  MutexLock lock(&unsettled_mutex_);
  unsettled_.insert(directory->number);
  if (unsettled_names_.size() < kUnsettledNamesMax)
    unsettled_names_.emplace_back(directory->number, std::string(event.name));
}

void StoreImpl::on_loss() {
  metadata_.changes().count_all();
  MutexLock lock(&unsettled_mutex_);
  all_unsettled_ = true;
}

void StoreImpl::settle() {
  std::unordered_set<InodeNumber> numbers;
  std::vector<std::pair<InodeNumber, std::string>> names;
  bool all;
  {
    MutexLock lock(&unsettled_mutex_);
    numbers.swap(unsettled_);
    names.swap(unsettled_names_);
    all = std::exchange(all_unsettled_, false);
  }
  if (all) {
    for (const InodeRef& inode : table_.with_data()) settle_file(inode);
  }
  for (const InodeNumber number : numbers) {
    if (const InodeRef inode = table_.find(number)) settle_file(inode);
  }
  for (const auto& [directory, name] : names) tell_outside_name(directory, name);
}

// Told before, so that who opens the file when it has its new version finds the kernel on its way to forget the old
// attributes; and after, for what the kernel may have read of the old version meanwhile.
void StoreImpl::settle_file(const InodeRef& inode) {
  tell_outside_change(inode->number);
  const std::shared_ptr<FileData> data = table_.data(inode);
  if (data == nullptr) return;
  const auto moved = data->revalidate();
  if (moved && *moved) tell_outside_change(inode->number);
}

}  // namespace sluice
