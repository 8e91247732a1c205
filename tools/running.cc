#include "tools/running.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "cache/log.h"
#include "cache/result.h"
#include "tools/mountinfo.h"
#include "tools/status.h"

namespace sluice {
namespace {

std::optional<RunningGateway> as_running(const FoundGateway& found) {
  if (found.answer.outcome != ControlAnswer::Outcome::answered) return std::nullopt;
  const std::optional<GatewayIdentity> identity = parse_identity(found.answer.text);
  if (!identity) return std::nullopt;
  // The kernel knows the number best, except in another pid namespace.
  const pid_t pid = found.answer.pid != 0 ? found.answer.pid : identity->pid;
  return RunningGateway{found.socket_path, pid, identity->source, identity->mountpoint, found.answer.text};
}

std::string list_of(const std::vector<RunningGateway>& gateways) {
  std::string list;
  for (const RunningGateway& gateway : gateways) {
    list +=
        fmt::format("{}{}", list.empty() ? "" : ", ", gateway.mountpoint.empty() ? gateway.source : gateway.mountpoint);
  }
  return list;
}

tl::unexpected<Complaint> complain_of_others(const std::vector<FoundGateway>& found, std::string_view what) {
  for (const FoundGateway& gateway : found) {
    if (gateway.answer.outcome == ControlAnswer::Outcome::forbidden) {
      return complain("{}: {} belongs to root; try again with sudo", what, gateway.socket_path);
    }
    if (gateway.answer.outcome == ControlAnswer::Outcome::silent) {
      return complain("{}: the gateway with pid {} does not answer at {}", what, gateway.answer.pid,
                      gateway.socket_path);
    }
  }
  return complain("{}; 'sluice mount SOURCE MOUNTPOINT' starts a gateway", what);
}

Checked<RunningGateway> find_only() {
  std::vector<FoundGateway> found = find_gateways(current_control_user());
  std::vector<RunningGateway> running = running_gateways(found);
  if (running.empty() && ::geteuid() != 0) {
    const std::vector<FoundGateway> of_root = find_gateways(control_user(0));
    found.insert(found.end(), of_root.begin(), of_root.end());
  }
  if (running.empty()) return complain_of_others(found, "no gateway is running");
  if (running.size() > 1) return complain("several gateways are running, name one: {}", list_of(running));
  return running.front();
}

// The rest of `path` below `root`, when it is there.
std::optional<std::string> path_below(std::string_view root, std::string_view path) {
  if (root == "/" && path != "/") return std::string(path.substr(1));
  if (path == root) return ".";
  if (!path.starts_with(root) || path[root.size()] != '/') return std::nullopt;
  return std::string(path.substr(root.size() + 1));
}

}  // namespace

std::vector<RunningGateway> running_gateways(const std::vector<FoundGateway>& found) {
  std::vector<RunningGateway> running;
  for (const FoundGateway& gateway : found) {
    if (std::optional<RunningGateway> one = as_running(gateway)) running.push_back(std::move(*one));
  }
  return running;
}

Checked<FileOfGateway> find_file(const std::string& path) {
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  if (error) return complain("'{}': {}", path, error_text(error.value()));
  std::vector<FoundGateway> found = find_gateways(current_control_user());
  if (::geteuid() == 0) {  // whoever mounted it
    const MountEntry* mount = nullptr;
    const std::vector<MountEntry> mounts = read_mounts();
    for (const MountEntry& one : mounts) {
      if (is_sluice(one) && path_below(one.path, real)) mount = &one;
    }
    if (mount != nullptr && mount_owner(*mount) != 0) found = find_gateways(control_user(mount_owner(*mount)));
  }
  // The mountpoint before the source, the deepest of several.
  std::optional<FileOfGateway> best;
  const auto offer = [&](const RunningGateway& gateway, const std::string& root) {
    const std::optional<std::string> below = root.empty() ? std::nullopt : path_below(root, real);
    if (below && (!best || below->size() < best->path.size())) best = FileOfGateway{gateway, *below};
  };
  const std::vector<RunningGateway> running = running_gateways(found);
  for (const RunningGateway& gateway : running) offer(gateway, gateway.mountpoint);
  if (best) return *best;
  for (const RunningGateway& gateway : running) offer(gateway, gateway.source);
  if (best) return *best;
  return complain_of_others(found, fmt::format("'{}' is in no mount and no source of a gateway", path));
}

Checked<RunningGateway> find_running(const std::string& target) {
  if (target.empty()) return find_only();
  const std::vector<MountEntry> mounts = read_mounts();
  const std::string path = mountpoint_path(target, mounts).value_or(target);
  const MountEntry* mount = find_mount(mounts, path);
  const bool is_mount = mount != nullptr && is_sluice(*mount);
  const std::vector<FoundGateway> found =
      find_gateways(is_mount ? control_user(mount_owner(*mount)) : current_control_user());
  const std::vector<RunningGateway> running = running_gateways(found);

  const auto by_mountpoint =
      std::find_if(running.begin(), running.end(), [&](const RunningGateway& one) { return one.mountpoint == path; });
  if (by_mountpoint != running.end()) return *by_mountpoint;
  if (is_mount) return complain_of_others(found, fmt::format("no gateway answers for '{}'", path));

  std::vector<RunningGateway> by_source;
  std::copy_if(running.begin(), running.end(), std::back_inserter(by_source),
               [&](const RunningGateway& one) { return one.source == path; });
  if (by_source.size() > 1) return complain("'{}' has several gateways, name one: {}", path, list_of(by_source));
  if (by_source.size() == 1) return by_source.front();

  const FoundGateway at_socket{path, ask_gateway(path, "status")};
  if (std::optional<RunningGateway> one = as_running(at_socket)) return std::move(*one);
  if (running.empty()) return complain_of_others({at_socket}, fmt::format("no gateway answers for '{}'", target));
  return complain("no gateway answers for '{}'; running: {}", target, list_of(running));
}

}  // namespace sluice
