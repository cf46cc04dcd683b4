/*
 * nccl_check.cu - compile-time comparison of nccl_api.h with NCCL's own
 * header, where that is installed.  The file has no code.
 */
#if !defined(TLPI_EMULATED) && defined(__has_include)
#if __has_include(<nccl.h>)
#include "nccl_api.h"

#include <nccl.h>
#include <type_traits>

/* ==== numbers and structs ================================================ */

static_assert((int)TLPI_NCCL_SUCCESS == (int)ncclSuccess, "ncclResult_t");
static_assert((int)TLPI_NCCL_IN_PROGRESS == (int)ncclInProgress,
              "ncclResult_t");
static_assert((int)TLPI_NCCL_FLOAT32 == (int)ncclFloat32, "ncclDataType_t");
static_assert((int)TLPI_NCCL_SUM == (int)ncclSum, "ncclRedOp_t");
static_assert(TLPI_NCCL_UNSET == NCCL_CONFIG_UNDEF_INT, "ncclConfig_t");
static_assert(sizeof(tlpi_nccl_id) == sizeof(ncclUniqueId), "ncclUniqueId");
static_assert(offsetof(tlpi_nccl_config, blocking) ==
                  offsetof(ncclConfig_t, blocking),
              "ncclConfig_t");
static_assert(offsetof(tlpi_nccl_config, net_name) ==
                  offsetof(ncclConfig_t, netName),
              "ncclConfig_t");
static_assert(offsetof(tlpi_nccl_config, split_share) ==
                  offsetof(ncclConfig_t, splitShare),
              "ncclConfig_t");

/* ==== functions ========================================================== */

/* An NCCL type as nccl_api.h spells it: an enum becomes an int. */
template <class T, bool IS_ENUM = std::is_enum<T>::value>
struct ours {
    typedef T type;
};
template <class T>
struct ours<T, true> {
    static_assert(sizeof(T) == sizeof(int), "an enum");
    typedef int type;
};
template <class T>
struct ours<T *, false> {
    typedef typename ours<T>::type *type;
};
template <>
struct ours<ncclUniqueId, false> {
    typedef tlpi_nccl_id type;
};
template <>
struct ours<ncclConfig_t, false> {
    typedef tlpi_nccl_config type;
};

template <class F>
struct spelled;
template <class R, class... A>
struct spelled<R(A...)> {
    typedef typename ours<R>::type type(typename ours<A>::type...);
};

#define X(result, name, args)                                                  \
    static_assert(                                                             \
        std::is_same<spelled<decltype(nccl##name)>::type, result args>::value, \
        "nccl" #name);
TLPI_NCCL_API(X)
#if NCCL_VERSION_CODE >= 22700
static_assert((int)TLPI_NCCL_WIN_COLL_SYMMETRIC == NCCL_WIN_COLL_SYMMETRIC,
              "window flags");
TLPI_NCCL_WINDOW_API(X)
#endif
#undef X

#endif
#endif
