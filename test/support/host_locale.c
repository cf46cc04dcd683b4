/*
 * host_locale.c - see host_locale.h.  The locale of TLP_TEST_LOCALE is set
 * before a test program starts, as a host program would: `make check-locale`.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/host_locale.h"
#include "support/tiny.h"

/* Messages stay English: Criterion's own report is translated, too. */
__attribute__((constructor)) static void set_locale(void)
{
    const char *name = getenv("TLP_TEST_LOCALE");

    if (!name || !*name)
        return;
    if (!setlocale(LC_ALL, name) || !setlocale(LC_MESSAGES, "C")) {
        fprintf(stderr, "no locale %s in LOCPATH\n", name);
        _exit(1);
    }
}

bool host_locale_make(const char *source, const char *charset)
{
    static const char *folder; /* of this process's locales */
    char path[512];

    if (!folder) {
        folder = tiny_path("locale");
        if (mkdir(folder, 0700) != 0)
            return false;
        setenv("LOCPATH", folder, 1);
    }
    snprintf(path, sizeof path, "%s/%s.%s", folder, source, charset);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr) ||
            !freopen("/dev/null", "w", stdout))
            _exit(1);
        execlp("localedef", "localedef", "-i", source, "-f", charset, path,
               (char *)NULL);
        _exit(127);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    snprintf(path, sizeof path, "%s.%s", source, charset);
    /* localedef also ends with 1 after a warning. */
    return WIFEXITED(status) && WEXITSTATUS(status) <= 1 &&
           setlocale(LC_ALL, path) != NULL;
}
