/*
 * serve_absent.c - tlp serve where the tool was built without libmicrohttpd:
 * the Makefile takes this file in place of the server's.
 */
#include "cli.h"
#include "commands.h"

int cmd_serve(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return cli_fail("this tlp was built without the server: it needs "
                    "libmicrohttpd (Debian: libmicrohttpd-dev)");
}
