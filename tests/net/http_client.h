// A client that says exactly what the test writes, for tests of HTTP servers.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "cache/unique_fd.h"

namespace sluice {

struct Response {
  int status = 0;  // 0: the connection ended
  std::map<std::string, std::string> fields;
  std::string body;
  bool whole = false;  // as long as Content-Length says, or with its last chunk
};

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  void write(std::string_view bytes) { ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void end_writing() { ::shutdown(socket_.get(), SHUT_WR); }
  Response get(const std::string& path, const std::string& fields = "") {
    write("GET " + path + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n");
    return read();
  }

  Response read(bool body_follows = true) {
    Response response = read_head();
    if (response.status == 0 || !body_follows) return response;
    if (response.fields.contains("Transfer-Encoding")) {
      read_chunks(response);
      return response;
    }
    const size_t length = std::strtoull(response.fields["Content-Length"].c_str(), nullptr, 10);
    response.whole = have(length);
    response.body = take(std::min(length, input_.size()));
    return response;
  }
  Response read_head() {
    Response response;
    while (input_.find("\r\n\r\n") == std::string::npos) {
      if (!more()) return response;
    }
    const std::string head = take(input_.find("\r\n\r\n") + 4);
    parse_head(std::string_view(head).substr(0, head.size() - 2), response);
    return response;
  }
  // Waits for that many bytes of a body, and drops them. Less: the connection ended.
  size_t read_some(size_t count) {
    have(count);
    return take(std::min(count, input_.size())).size();
  }
  std::string read_to_end() {
    while (more()) {
    }
    return take(input_.size());
  }
  int last_error() const { return error_; }  // of receiving; 0: the end was proper
  bool ended() { return input_.empty() && !more(); }

 private:
  bool more() {
    char buffer[65536];
    const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (got > 0) input_.append(buffer, static_cast<size_t>(got));
    if (got < 0) error_ = errno;
    return got > 0;
  }
  bool have(size_t length) {
    while (input_.size() < length && more()) {
    }
    return input_.size() >= length;
  }
  std::string take(size_t length) {
    std::string taken = input_.substr(0, length);
    input_.erase(0, length);
    return taken;
  }
  void read_chunks(Response& response) {
    while (true) {
      while (input_.find("\r\n") == std::string::npos) {
        if (!more()) return;
      }
      const size_t length = std::strtoull(take(input_.find("\r\n") + 2).c_str(), nullptr, 16);
      if (!have(length + 2)) return;
      response.body += take(length);
      if (take(2) != "\r\n") return;
      response.whole = length == 0;
      if (response.whole) return;
    }
  }
  static void parse_head(std::string_view head, Response& response) {
    response.status = std::atoi(std::string(head.substr(9, 3)).c_str());
    size_t line = head.find("\r\n") + 2;
    while (line < head.size()) {
      const size_t end = head.find("\r\n", line);
      const std::string_view field = head.substr(line, end - line);
      const size_t colon = field.find(": ");
      response.fields[std::string(field.substr(0, colon))] = field.substr(colon + 2);
      line = end + 2;
    }
  }

  UniqueFd socket_;
  bool connected_ = false;
  int error_ = 0;
  std::string input_;
};

}  // namespace sluice
