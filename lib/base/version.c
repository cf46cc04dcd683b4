/*
 * version.c - the version of the library at run time.
 */
#include "base/base.h"

#define TEXT(x) #x
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

int tlp_version_number(void)
{
    return TLP_VERSION_NUMBER;
}

const char *tlp_version_string(void)
{
    return DOTTED(TLP_VERSION_MAJOR, TLP_VERSION_MINOR, TLP_VERSION_PATCH);
}
