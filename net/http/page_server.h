// PageServer serves one page that is made anew for each request: for numbers that somebody collects. One thread, a few
// connections; for a loopback or a management network.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cache/result.h"

namespace sluice {

struct PageServerOptions {
  std::string address;  // see parse_listen_address
  std::string path;     // "metrics"; others are 404
  std::string content_type;
  std::function<std::string()> page;  // called on the server's thread
};

class PageServer {
 public:
  // Errors: as HttpServer::start.
  static Result<std::unique_ptr<PageServer>> start(PageServerOptions options);
  virtual ~PageServer() = default;  // stops at once

  virtual uint16_t port() const = 0;
};

}  // namespace sluice
