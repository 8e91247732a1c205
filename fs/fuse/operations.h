// The handlers that libfuse calls, by subject. Every one has the same shape: take the request, call the store, reply
// once. They run on libfuse's threads; reads, writes and some opens are answered later by another.
#pragma once

#include "fs/fuse/libfuse.h"
#include "fs/store/types.h"

namespace sluice {

void add_meta_operations(fuse_lowlevel_ops& operations);
void add_directory_operations(fuse_lowlevel_ops& operations);
void add_data_operations(fuse_lowlevel_ops& operations);

// Collects what the store notices about `number` on this thread while it lives (see Store::on_outside_change), so
// that the handler can see to it itself.
class OutsideChangeWatch {
 public:
  explicit OutsideChangeWatch(InodeNumber number);
  ~OutsideChangeWatch();
  OutsideChangeWatch(const OutsideChangeWatch&) = delete;
  OutsideChangeWatch& operator=(const OutsideChangeWatch&) = delete;

  bool has_noticed() const { return has_noticed_; }
  // For the listener: true when a watch of this thread takes care of `number`.
  static bool notice(InodeNumber number);

 private:
  const InodeNumber number_;
  bool has_noticed_ = false;
};

}  // namespace sluice
