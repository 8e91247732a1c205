// What must outlive the gateway: small files in one directory, by the source they belong to.
#pragma once

#include <string>

#include "net/nfs/handles.h"
#include "tools/complaint.h"

namespace sluice {

// /var/lib/sluice for root, else sluice in $XDG_STATE_HOME or ~/.local/state.
std::string default_state_dir();

// The key that signs the NFS handles of `source`, a real path; made and written to the disk when there is none. Makes
// the directory, too.
Checked<NfsExportKey> load_nfs_key(const std::string& state_dir, const std::string& source);

}  // namespace sluice
