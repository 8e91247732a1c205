// Catch2 v2 (Debian 12) or v3 (later), one include for the tests.
#pragma once

#ifdef SLUICE_CATCH_V3
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
namespace Catch {
using Detail::Approx;  // where v3 has it
}
#endif
