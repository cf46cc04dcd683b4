/*
 * serve_error.c - why a request over HTTP is refused.
 */
#include "serve_error.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>

bool api_fail(api_error *e, int status, const char *param, const char *code,
              const char *fmt, ...)
{
    va_list ap;

    e->status = status;
    e->code = code;
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return false;
}

bool api_fail_memory(api_error *e)
{
    return api_fail(e, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, NULL,
                    "out of memory");
}

static int http_status(tlp_status st)
{
    switch (st) {
    case TLP_EINVAL:
    case TLP_EFORMAT:
    case TLP_ENOTSUP:
    case TLP_EFULL:
        return MHD_HTTP_BAD_REQUEST;
    case TLP_EBUSY:
        return MHD_HTTP_TOO_MANY_REQUESTS;
    case TLP_ECLOSED:
    case TLP_ECOMM:
    case TLP_ETIMEDOUT:
    case TLP_ENOMEM:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

bool api_fail_status(api_error *e, tlp_status st, const char *text)
{
    const char *code = st == TLP_EFULL   ? "context_length_exceeded"
                       : st == TLP_EBUSY ? "queue_full"
                                         : NULL;

    return api_fail(e, http_status(st), NULL, code, "%s", text);
}

bool api_fail_library(api_error *e, tlp_status st)
{
    return api_fail_status(e, st, tlp_last_error());
}

const char *api_error_type(int status)
{
    switch (status) {
    case MHD_HTTP_UNAUTHORIZED:
        return "authentication_error";
    case MHD_HTTP_FORBIDDEN:
        return "permission_error";
    case MHD_HTTP_NOT_FOUND:
        return "not_found_error";
    case MHD_HTTP_TOO_MANY_REQUESTS:
        return "rate_limit_error";
    case MHD_HTTP_SERVICE_UNAVAILABLE:
        return "unavailable_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}
