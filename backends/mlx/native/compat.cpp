// What mlx-rs and MLX's wheel for Linux lack.
#include <ctime>

// mlx-rs seeds its random generator from Darwin's clock through mach-sys, whose declaration nothing defines outside Apple's systems.
extern "C" unsigned long long mach_approximate_time() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// Sends the matrix products of the wheel's libmlx.so to OpenBLAS instead of the reference BLAS that comes with it, which is some 20
// times slower. libmlxc.so comes before libblas in the search order, so that these definitions win. `scipy_` is the prefix of the
// scipy-openblas32 wheel.
extern "C" {
#define FORWARD(name, T, S)                                                                                         \
  void scipy_##name(int, int, int, int, int, int, S, const T*, int, const T*, int, S, T*, int);                     \
  void name(int o, int ta, int tb, int m, int n, int k, S al, const T* a, int lda, const T* b, int ldb, S be, T* c, \
            int ldc) {                                                                                              \
    scipy_##name(o, ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc);                                               \
  }
// MLX computes on a thread a stream: OpenBLAS's own threads would only wait for one another.
void scipy_openblas_set_num_threads(int);
__attribute__((constructor)) static void one_thread() { scipy_openblas_set_num_threads(1); }

FORWARD(cblas_sgemm, float, float)
FORWARD(cblas_dgemm, double, double)
FORWARD(cblas_cgemm, void, const void*)
}
