// Force-included (-include) when mlx-c is compiled on Linux and when bindgen reads its headers. It fills two gaps:
//  1. mlx-c's half.h defines float16_t and bfloat16_t, and the HAS_* macros that expose mlx_array_{item,data}_{float16,bfloat16}, on
//     ARM only, while mlx-rs uses them everywhere.
//  2. mlx-c uses std::format, which libstdc++ has from version 13 on.
#pragma once
#if !defined(__aarch64__) && !defined(__ARM_FEATURE_FP16_SCALAR_ARITHMETIC)
#define HAS_FLOAT16
#define HAS_BFLOAT16
#ifdef __cplusplus
#include "mlx/types/half_types.h"
using mlx::core::bfloat16_t;
using mlx::core::float16_t;
#else
typedef unsigned short float16_t;
typedef unsigned short bfloat16_t;
#endif
#endif

#if defined(__cplusplus) && !__has_include(<format>)
#include <sstream>
#include <string>
#include <string_view>
namespace std {
template <class... A>
inline string format(string_view f, const A&... a) {
  ostringstream o;
  auto one = [&](const auto& v) {
    auto p = f.find("{}");
    o << f.substr(0, p);
    if (p == string_view::npos) { f = {}; return; }
    o << v;
    f.remove_prefix(p + 2);
  };
  (one(a), ...);
  o << f;
  return o.str();
}
} // namespace std
#endif
