// What must outlive the gateway: small files in one directory, by the source they belong to.
#pragma once

#include <string>

#include "net/nfs/handles.h"
#include "tools/complaint.h"
#include "tools/options.h"

namespace sluice {

// That of --state-dir; else /var/lib/sluice for root, sluice in $XDG_STATE_HOME or ~/.local/state for others.
std::string state_dir_of(const Options& options);
// Where the store keeps what it finds files of `source` by whose file system has no handles.
std::string place_table_path(const std::string& state_dir, const std::string& source);
// Where the store counts what delayed writes to `source` have not made durable.
std::string dirty_record_path(const std::string& state_dir, const std::string& source);

// The key that signs the NFS handles of `source`, a real path; made and written to the disk when there is none. Makes
// the directory, too.
Checked<NfsExportKey> load_nfs_key(const std::string& state_dir, const std::string& source);

}  // namespace sluice
