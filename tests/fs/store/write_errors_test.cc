#include "fs/store/write_errors.h"

#include <cerrno>

#include "tests/support/catch.h"

namespace sluice {

TEST_CASE("write errors: each open is told of an error once", "[store]") {
  WriteErrors errors;
  WriteErrors::Told one = errors.at_open(), other = errors.at_open();
  CHECK(errors.tell(&one) == 0);
  errors.note(EIO);
  CHECK(errors.tell(&one) == EIO);
  CHECK(errors.tell(&one) == 0);
  CHECK(errors.tell(&other) == EIO);
  CHECK(errors.tell(&other) == 0);
}

TEST_CASE("write errors: who opens a file is told of an error that nobody was told of", "[store]") {
  WriteErrors errors;
  errors.note(ENOSPC);
  WriteErrors::Told one = errors.at_open();
  CHECK(errors.tell(&one) == ENOSPC);
  WriteErrors::Told late = errors.at_open();
  CHECK(errors.tell(&late) == 0);
}

TEST_CASE("write errors: what nobody was told of is left for the end", "[store]") {
  WriteErrors errors;
  WriteErrors::Told one = errors.at_open();
  CHECK(errors.untold() == 0);
  errors.note(EIO);
  CHECK(errors.untold() == EIO);
  errors.tell(&one);
  CHECK(errors.untold() == 0);
  errors.note(ENOSPC);
  CHECK(errors.untold() == ENOSPC);
}

}  // namespace sluice
