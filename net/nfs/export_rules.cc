#include "net/nfs/export_rules.h"

#include <netinet/in.h>

#include <algorithm>
#include <charconv>

namespace sluice {
namespace {

bool parse_id(std::string_view text, uint32_t* id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *id);
  return error == std::errc() && end == text.data() + text.size() && *id != UINT32_MAX;
}

bool set_word(std::string_view word, NfsClientOptions& options) {
  constexpr std::string_view kAnonymousUid = "anonuid=";
  constexpr std::string_view kAnonymousGid = "anongid=";
  if (word.starts_with(kAnonymousUid)) return parse_id(word.substr(kAnonymousUid.size()), &options.anonymous_uid);
  if (word.starts_with(kAnonymousGid)) return parse_id(word.substr(kAnonymousGid.size()), &options.anonymous_gid);
  if (word == "rw" || word == "ro") {
    options.read_only = word == "ro";
  } else if (word == "root_squash") {
    options.squash = NfsSquash::root;
  } else if (word == "no_root_squash") {
    options.squash = NfsSquash::none;
  } else if (word == "all_squash") {
    options.squash = NfsSquash::all;
  } else if (word == "secure" || word == "insecure") {
    options.secure = word == "secure";
  } else if (word == "sync" || word == "async") {
    options.sync = word == "sync";
  } else {
    return false;
  }
  return true;
}

// Words have letters that no address has.
bool looks_like_word(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return (c >= 'g' && c <= 'z') || c == '_' || c == '='; });
}

}  // namespace

Caller NfsClientOptions::caller_for(const std::optional<Caller>& claimed) const {
  if (!claimed || squash == NfsSquash::all) return {.uid = anonymous_uid, .gid = anonymous_gid, .groups = {}};
  Caller caller = *claimed;
  if (squash == NfsSquash::none) return caller;
  if (caller.uid == 0) return {.uid = anonymous_uid, .gid = anonymous_gid, .groups = {}};
  if (caller.gid == 0) caller.gid = anonymous_gid;
  std::ranges::replace(caller.groups, gid_t{0}, anonymous_gid);
  return caller;
}

std::optional<NfsExportRules> NfsExportRules::parse(std::string_view text, const NfsClientOptions& defaults,
                                                    std::string* wrong) {
  NfsExportRules rules;
  for (size_t begin = 0, end = 0; end != text.npos; begin = end + 1) {
    end = text.find(',', begin);
    const std::string_view item = text.substr(begin, end == text.npos ? text.npos : end - begin);
    Rule rule{{}, defaults};
    std::string_view clients = item;
    std::vector<std::string_view> words;
    for (size_t colon; (colon = clients.rfind(':')) != clients.npos && looks_like_word(clients.substr(colon + 1));) {
      words.push_back(clients.substr(colon + 1));
      clients = clients.substr(0, colon);
    }
    for (auto word = words.rbegin(); word != words.rend(); ++word) {
      if (set_word(*word, rule.options)) continue;
      *wrong = *word;
      return std::nullopt;
    }
    auto ranges = AddressRanges::parse(clients);
    if (!ranges || ranges->empty()) {
      *wrong = clients;
      return std::nullopt;
    }
    rule.clients = std::move(*ranges);
    rules.rules_.push_back(std::move(rule));
  }
  return rules;
}

NfsExportRules NfsExportRules::loopback(const NfsClientOptions& options) {
  NfsExportRules rules;
  rules.rules_.push_back({*AddressRanges::parse("127.0.0.0/8,::1"), options});
  return rules;
}

const NfsClientOptions* NfsExportRules::find(const PeerAddress& peer, uint16_t port) const {
  for (const Rule& rule : rules_) {
    if (!rule.clients.contain(peer)) continue;
    return rule.options.secure && port >= IPPORT_RESERVED ? nullptr : &rule.options;
  }
  return nullptr;
}

}  // namespace sluice
