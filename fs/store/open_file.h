// The store's OpenFile: one open of one file, with the readahead of this reader.
#pragma once

#include <memory>

#include "fs/store/descriptor_cache.h"
#include "fs/store/inode_table.h"
#include "fs/store/open_files.h"
#include "fs/store/store.h"

namespace sluice {

// FileData::open that is balanced by FileData::close.
class OpenedData {
 public:
  OpenedData(OpenFiles* files, InodeNumber number, std::shared_ptr<FileData> data, bool for_writing)
      : files_(files), number_(number), data_(std::move(data)), for_writing_(for_writing) {
    files_->opened(number_, data_);
  }
  OpenedData(OpenedData&& other) = default;  // leaves data_ null
  ~OpenedData() {
    if (data_ == nullptr) return;
    data_->close(for_writing_);
    files_->closed(number_);
  }

  const std::shared_ptr<FileData>& operator*() const { return data_; }
  FileData* operator->() const { return data_.get(); }

 private:
  OpenFiles* files_;
  InodeNumber number_;
  std::shared_ptr<FileData> data_;
  bool for_writing_;
};

struct OpenFileParts {
  InodeRef inode;
  OpenedData data;
  int flags = 0;
  // So that the file works on after its deletion. Empty for opens by path, which need no more than the data.
  DescriptorPin pin;
};

std::unique_ptr<OpenFile> make_open_file(OpenFileParts parts, const ReadaheadOptions& readahead);
// After FileData::open_cached: reads what is resident. Errors of `read`: ESTALE, not all of it is.
std::unique_ptr<OpenFile> make_cached_file(OpenFileParts parts);

}  // namespace sluice
