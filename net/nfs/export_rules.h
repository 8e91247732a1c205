// Who may mount the export, and as whom its clients act: what exports(5) calls squashing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/store/types.h"
#include "net/peer_address.h"

namespace sluice {

enum class NfsSquash : uint8_t { none, root, all };

struct NfsClientOptions {
  NfsSquash squash = NfsSquash::root;
  uid_t anonymous_uid = 65534;
  gid_t anonymous_gid = 65534;
  bool read_only = false;
  bool secure = false;  // only from ports below 1024, which a client's users cannot have
  bool sync = true;     // changes of names and attributes are on the disk before they are answered

  // As whom a client acts that says it is `claimed`, or nobody in particular.
  Caller caller_for(const std::optional<Caller>& claimed) const;
};

// The first rule that holds for a client counts.
class NfsExportRules {
 public:
  // "192.0.2.0/24:ro:all_squash,2001:db8::/32:no_root_squash,127.0.0.1". Words: rw, ro, root_squash, no_root_squash,
  // all_squash, anonuid=N, anongid=N, secure, insecure, sync, async. What a rule leaves out is as in `defaults`.
  // Nothing: `wrong` names the part that cannot be.
  static std::optional<NfsExportRules> parse(std::string_view text, const NfsClientOptions& defaults,
                                             std::string* wrong);
  // This machine only.
  static NfsExportRules loopback(const NfsClientOptions& options);

  // Null: this client may not. Valid as long as the rules.
  const NfsClientOptions* find(const PeerAddress& peer, uint16_t port) const;

 private:
  struct Rule {
    AddressRanges clients;
    NfsClientOptions options;
  };
  std::vector<Rule> rules_;
};

}  // namespace sluice
