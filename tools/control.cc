#include "tools/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <list>
#include <sstream>
#include <thread>

#include "cache/log.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "tools/encoded_word.h"

namespace sluice {
namespace {

constexpr size_t kRequestMax = 32 << 10;  // a path, three bytes for each of its own
constexpr size_t kJobsMax = 8;
constexpr std::string_view kStoppingAnswer = "stopping\n";
constexpr timeval kPatience = {.tv_sec = 5, .tv_usec = 0};

Checked<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return complain("--control: '{}' is too long for a socket, {} bytes at most; choose a shorter path", path,
                    sizeof(address.sun_path) - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd make_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
  return fd;
}

bool send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// Up to and without the newline; empty when none came.
std::string receive_request(int fd) {
  std::string request;
  while (request.size() < kRequestMax) {
    std::array<char, kRequestMax> piece;
    const ssize_t count = ::recv(fd, piece.data(), piece.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
    request.append(piece.data(), static_cast<size_t>(count));
    const size_t end = request.find('\n');
    if (end != std::string::npos) return request.substr(0, end);
  }
  return {};
}

std::vector<std::string> words_of(std::string_view request) {
  std::vector<std::string> words;
  while (!request.empty()) {
    const std::string_view word = request.substr(0, request.find(' '));
    request.remove_prefix(std::min(request.size(), word.size() + 1));
    words.push_back(decode_word(word));
  }
  return words;
}

// More of what the peer says. Errors: EPIPE, that was all; ECONNRESET, it went; EAGAIN, it takes too long.
Result<void> receive_more(int fd, std::string& answer) {
  for (;;) {
    std::array<char, 4096> piece;
    const ssize_t count = ::recv(fd, piece.data(), piece.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno);
    if (count == 0) return fail(EPIPE);
    answer.append(piece.data(), static_cast<size_t>(count));
    return {};
  }
}

// Everything until the peer's end. Errors: EPIPE, it said nothing.
Result<void> receive_answer(int fd, std::string& answer) {
  for (;;) {
    const Result<void> more = receive_more(fd, answer);
    if (more) continue;
    if (more.error().number == EPIPE && !answer.empty()) return {};
    return more;
  }
}

// What a killed gateway left at `path` is removed; what lives there, or is no socket, is a complaint.
Checked<> make_room(const std::string& path) {
  struct stat attributes {};
  if (::lstat(path.c_str(), &attributes) != 0) return {};
  if (!S_ISSOCK(attributes.st_mode)) {
    return complain("--control: '{}' exists and is no socket; choose another path or remove it", path);
  }
  if (ask_gateway(path, "status").outcome != ControlAnswer::Outcome::refused) {
    return complain("--control: another gateway listens at '{}'; choose another path", path);
  }
  ::unlink(path.c_str());
  return {};
}

Checked<UniqueFd> listen_at(const std::string& path) {
  const sockaddr_un address = TRY(socket_address(path));
  TRY(make_room(path));
  UniqueFd fd = make_socket();
  // Nobody can connect before listen(), so the mode is right from the start.
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(fd.get(), 16) != 0) {
    return complain("--control: cannot listen at '{}': {}; choose another path", path, error_text(errno));
  }
  return fd;
}

class UnixControlServer final : public ControlServer {
 public:
  UnixControlServer(UniqueFd listener, std::string path, std::string link, ControlHandlers handlers)
      : listener_(std::move(listener)),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        path_(std::move(path)),
        link_(std::move(link)),
        handlers_(std::move(handlers)),
        thread_([this] { run(); }) {}

  ~UnixControlServer() override { static_cast<void>(end()); }

  Farewell end() override {
    if (!thread_.joinable()) return {};
    stopping_.store(true);
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
    for (Job& job : jobs_) job.thread.join();
    abandon();
    return std::move(farewell_);
  }

  const std::string& path() const override { return path_; }
  void abandon() const override {
    if (!link_.empty()) ::unlink(link_.c_str());
    ::unlink(path_.c_str());
  }

 private:
  struct Job {
    std::atomic<bool> ended{false};
    std::thread thread;
  };

  void run() {
    std::array<pollfd, 2> waited = {{{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    for (;;) {
      if (::poll(waited.data(), waited.size(), -1) < 0) continue;  // EINTR
      if (waited[1].revents != 0) return;
      UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection) answer(std::move(connection));
    }
  }

  void answer(UniqueFd connection) {
    const int fd = connection.get();
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
    const std::string request = receive_request(fd);
    if (request == "status") {
      send_all(fd, handlers_.status());
    } else if (request == "unmount") {
      const Result<void> unmounted = handlers_.unmount();
      if (!unmounted && unmounted.error().number == EBUSY) {
        send_all(fd, kBusyAnswer);
      } else {
        begin_to_stop(std::move(connection));
      }
    } else if (request == "stop") {
      begin_to_stop(std::move(connection));
    } else if (request.starts_with("cache ")) {
      begin_job(std::move(connection), words_of(std::string_view(request).substr(6)));
    } else {
      send_all(fd, "error: the requests are: status, unmount, stop, cache\n");
    }
  }

  void begin_to_stop(UniqueFd connection) {
    send_all(connection.get(), kStoppingAnswer);
    farewell_.add(std::move(connection));
    handlers_.stop();
  }

  void begin_job(UniqueFd connection, std::vector<std::string> words) {
    jobs_.remove_if([](Job& job) {
      if (job.ended) job.thread.join();
      return job.ended.load();
    });
    if (jobs_.size() == kJobsMax) {
      send_all(connection.get(), "error: too many such requests at once; try again\n");
      return;
    }
    Job& job = jobs_.emplace_back();
    job.thread = std::thread([this, &job, connection = std::move(connection), words = std::move(words)] {
      handlers_.cache(words, [&](std::string_view line) {
        return !stopping_ && send_all(connection.get(), std::string(line) + "\n");
      });
      job.ended = true;
    });
  }

  const UniqueFd listener_;
  const UniqueFd stop_;
  const std::string path_;
  const std::string link_;  // in the control directory; empty when path_ is there
  const ControlHandlers handlers_;
  std::atomic<bool> stopping_{false};
  std::list<Job> jobs_;  // of the thread
  Farewell farewell_;    // the same
  std::thread thread_;
};

// A gateway with a socket of its own choice is still found by its mountpoint. Without a control directory only by that
// path.
std::string link_to(const std::string& path, const Checked<>& directory_made, const std::string& usual_path) {
  if (path == usual_path) return {};
  if (!directory_made) {
    log(LogLevel::warning, "{}; this gateway answers only at {}", directory_made.error().line, path);
    return {};
  }
  ::unlink(usual_path.c_str());
  return ::symlink(path.c_str(), usual_path.c_str()) == 0 ? usual_path : std::string();
}

Result<UniqueFd> connect_to(const std::string& socket_path) {
  const Checked<sockaddr_un> address = socket_address(socket_path);
  if (!address) return fail(ENOENT);
  UniqueFd fd = make_socket();
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) return fail(errno);
  return fd;
}

ControlAnswer::Outcome outcome_of(int connect_error) {
  switch (connect_error) {
    case ECONNREFUSED: return ControlAnswer::Outcome::refused;
    case EACCES:
    case EPERM: return ControlAnswer::Outcome::forbidden;
    case EAGAIN: return ControlAnswer::Outcome::silent;  // its queue is full
    default: return ControlAnswer::Outcome::missing;
  }
}

std::vector<std::string> list_sockets(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() == ".sock") paths.push_back(entry->path().string());
  }
  return paths;
}

}  // namespace

ControlUser current_control_user() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return {::geteuid(), runtime != nullptr ? runtime : ""};
}

ControlUser control_user(uid_t uid) {
  if (uid == ::geteuid()) return current_control_user();
  const std::string runtime = fmt::format("/run/user/{}", uid);
  return {uid, ::access((runtime + "/sluice").c_str(), F_OK) == 0 ? runtime : ""};
}

std::string control_directory(const ControlUser& user) {
  if (user.uid == 0) return "/run/sluice";
  if (user.runtime_directory.starts_with('/')) return user.runtime_directory + "/sluice";
  return fmt::format("/tmp/sluice-{}", user.uid);
}

Checked<> check_control_directory(const std::string& path, uid_t uid) {
  struct stat attributes {};
  if (::lstat(path.c_str(), &attributes) != 0) return complain("{}: {}", path, error_text(errno));
  if (!S_ISDIR(attributes.st_mode)) return complain("{} is not a directory; remove it", path);
  if (attributes.st_uid != uid) return complain("{} belongs to another user; remove it", path);
  const mode_t open_bits = uid == 0 ? 0022 : 0077;
  if ((attributes.st_mode & open_bits) != 0) {
    return complain("{} is open to others; remove it or chmod it to 0700", path);
  }
  return {};
}

Checked<> make_control_directory(const std::string& path, uid_t uid) {
  const mode_t mode = uid == 0 ? 0755 : 0700;
  if (::mkdir(path.c_str(), 0700) == 0) {
    ::chmod(path.c_str(), mode);  // whatever the umask
  } else if (errno != EEXIST) {
    return complain("cannot make {}: {}; give another place with --control", path, error_text(errno));
  }
  return check_control_directory(path, uid);
}

Checked<std::unique_ptr<ControlServer>> ControlServer::open(const std::string& path, ControlHandlers handlers) {
  const ControlUser user = current_control_user();
  const std::string directory = control_directory(user);
  const Checked<> directory_made = make_control_directory(directory, user.uid);
  if (path.empty() && !directory_made) return tl::unexpected(directory_made.error());

  const std::string usual_path = fmt::format("{}/{}.sock", directory, ::getpid());
  const std::string own_path = path.empty() ? usual_path : path;
  if (path.empty()) ::unlink(usual_path.c_str());  // of a process that had our number
  UniqueFd listener = TRY(listen_at(own_path));
  std::string link = link_to(own_path, directory_made, usual_path);
  return std::make_unique<UnixControlServer>(std::move(listener), own_path, std::move(link), std::move(handlers));
}

namespace {

constexpr size_t kFarewellsMax = 8;

// `hung_up`: the gateway went before it answered.
ControlAnswer ask_once(const std::string& socket_path, std::string_view request, bool& hung_up) {
  ControlAnswer answer;
  const Result<UniqueFd> connected = connect_to(socket_path);
  if (!connected) {
    answer.outcome = outcome_of(connected.error().number);
    return answer;
  }
  const UniqueFd& fd = *connected;
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) answer.pid = peer.pid;
  send_all(fd.get(), fmt::format("{}\n", request));
  const Result<void> received = receive_answer(fd.get(), answer.text);
  answer.outcome = received ? ControlAnswer::Outcome::answered : ControlAnswer::Outcome::silent;
  hung_up = !received && received.error().number != EAGAIN;
  return answer;
}

}  // namespace

// Whoever ends while asked is asked again: then nobody is there.
ControlAnswer ask_gateway(const std::string& socket_path, std::string_view request) {
  bool hung_up = false;
  ControlAnswer answer = ask_once(socket_path, request, hung_up);
  return hung_up ? ask_once(socket_path, request, hung_up) : answer;
}

void Farewell::add(UniqueFd connection) {
  connections_.push_back(std::move(connection));
  if (connections_.size() > kFarewellsMax) connections_.pop_front();
}

void Farewell::complain(std::string_view line) const {
  for (const UniqueFd& connection : connections_) send_all(connection.get(), fmt::format("error: {}\n", line));
}

void Farewell::ended() const {
  for (const UniqueFd& connection : connections_) send_all(connection.get(), "ended\n");
}

EndRequest::EndRequest(const std::string& socket_path, std::string_view request) {
  auto connection = connect_to(socket_path);
  if (!connection) return;
  connection_ = std::move(*connection);
  send_all(connection_.get(), fmt::format("{}\n", request));
  while (answer_.find('\n') == std::string::npos && receive_more(connection_.get(), answer_)) {
  }
}

bool EndRequest::is_busy() const {
  return answer_ == kBusyAnswer;
}

std::optional<std::vector<std::string>> EndRequest::last_words() {
  constexpr std::string_view kComplaint = "error: ";
  if (connection_) static_cast<void>(receive_answer(connection_.get(), answer_));
  if (!answer_.starts_with(kStoppingAnswer)) return std::vector<std::string>();  // it was ending already
  std::vector<std::string> complaints;
  std::istringstream lines(answer_);
  for (std::string line; std::getline(lines, line);) {
    if (line == "ended") return complaints;
    if (line.starts_with(kComplaint)) complaints.push_back(line.substr(kComplaint.size()));
  }
  return std::nullopt;
}

bool ask_for_cache_work(const std::string& socket_path, const std::vector<std::string>& words,
                        const std::function<void(std::string_view line)>& on_line) {
  const Result<UniqueFd> fd = connect_to(socket_path);
  if (!fd) return false;
  std::string request = "cache";
  for (const std::string& word : words) request += " " + encode_word(word);
  if (!send_all(fd->get(), request + "\n")) return false;
  for (std::string received;;) {
    std::array<char, 4096> piece;
    const ssize_t count = ::recv(fd->get(), piece.data(), piece.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count == 0 && received.empty();
    received.append(piece.data(), static_cast<size_t>(count));
    for (size_t end; (end = received.find('\n')) != std::string::npos; received.erase(0, end + 1)) {
      on_line(std::string_view(received).substr(0, end));
    }
  }
}

std::vector<FoundGateway> find_gateways(const ControlUser& user) {
  const std::string directory = control_directory(user);
  if (!check_control_directory(directory, user.uid)) return {};
  std::vector<FoundGateway> gateways;
  for (const std::string& path : list_sockets(directory)) {
    FoundGateway found{path, ask_gateway(path, "status")};
    switch (found.answer.outcome) {
      case ControlAnswer::Outcome::answered:
      case ControlAnswer::Outcome::silent:
      case ControlAnswer::Outcome::forbidden: gateways.push_back(std::move(found)); break;
      case ControlAnswer::Outcome::refused:
      case ControlAnswer::Outcome::missing:  // a link whose socket is gone
        if (user.uid == ::geteuid()) ::unlink(path.c_str());
        break;
    }
  }
  return gateways;
}

}  // namespace sluice
