#include "fs/fuse/mount_options.h"

#include <cstdlib>

#include "cache/assert.h"
#include "fs/fuse/libfuse.h"

namespace sluice {

std::string mount_option_string(const FuseOptions& options) {
  char* text = nullptr;
  auto add = [&text](const std::string& option) {
    const int result = fuse_opt_add_opt_escaped(&text, option.c_str());
    ASSERT(result == 0);  // out of memory
  };
  add("default_permissions");
  add("subtype=sluice");
  if (!options.fsname.empty()) add("fsname=" + options.fsname);
  if (options.allow_other) add("allow_other");
  if (options.read_only) add("ro");
  if (options.auto_unmount) add("auto_unmount");
  if (options.debug) add("debug");
  for (const std::string& option : options.extra) add(option);

  std::string result = text;
  std::free(text);
  return result;
}

}  // namespace sluice
