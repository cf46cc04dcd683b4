/*
 * tlp.c - the command-line tool: choose the command.
 *
 * The tool uses only the public header.  cmd_*.c are the commands; engine.c
 * has their common code about models; cli.c, files.c and json.c have further
 * common code.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "commands.h"
#include "tlp.h"

static const cli_command commands[] = {
    { "run", "-m FILE [-p TEXT | -f FILE | -i] [options]",
      "Generate text, or chat", cmd_run },
    { "info", "(-m FILE [--plan PLAN] [--ranks N] | --devices) [options]",
      "Show a model and the cost of a plan; list GPUs", cmd_info },
    { "tokenize", "-m FILE [options] <TEXT",
      "Turn standard input into token ids", cmd_tokenize },
    { "detokenize", "-m FILE [options] <IDS",
      "Turn token ids on standard input into text", cmd_detokenize },
    { "logits", "-m FILE (--ids \"1 2 3\" | --tokens FILE) -o FILE [options]",
      "Write the logits of every token as little-endian float32", cmd_logits },
    { "embed", "-m FILE [-p TEXT... | -f FILE] [options]",
      "Print a vector for each text", cmd_embed },
    { "eval", "-m FILE (--text FILE | --tokens FILE) [options]",
      "Measure perplexity", cmd_eval },
    { "study", "-m FILE (--text FILE | --tokens FILE) [options]",
      "Measure what changing each range of layers costs", cmd_study },
    { "plan", "(make | show | check | diff) [options]",
      "Make, adjust, show and compare plans", cmd_plan },
    { "imatrix", "-m FILE (--text FILE | --tokens FILE) -o FILE [options]",
      "Measure how much columns of matrices count, for quantize", cmd_imatrix },
    { "quantize", "IN.gguf OUT.gguf TYPE [options]",
      "Write a model with its weights in another type", cmd_quantize },
    { "convert", "FOLDER OUT.gguf [TYPE] [options]",
      "Write a folder of Hugging Face as a GGUF file", cmd_convert },
    { "bench", "-m FILE [--plan PLAN]... | --bandwidth [-m FILE] [options]",
      "Compare the speed of plans in tokens per second", cmd_bench },
    { "serve", "-m FILE [--host NAME] [--port N] [options]",
      "Answer requests over HTTP, as OpenAI's API does", cmd_serve },
    { "worker", "-m FILE [options]",
      "Run as a worker rank for a command started on rank 0", cmd_worker },
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static int print_help(FILE *f)
{
    fprintf(f, "usage: tlp COMMAND [options]\n"
               "Run decoder language models with layer parallelism.\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fprintf(f, "\ntlp COMMAND --help shows the options of a command,\n"
               "tlp --version version and build.\n");
    return f == stdout ? cli_close_stdout() : CLI_USAGE;
}

int main(int argc, char **argv)
{
    /* Write whole lines, because processes under mpirun write to one stream. */
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    if (argc < 2)
        return print_help(stderr);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help"))
        return print_help(stdout);
    if (!strcmp(argv[1], "--version")) {
        printf("tlp %s\n%s\n", tlp_version_string(), tlp_build_info());
        return cli_close_stdout();
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        cli_set_command(&commands[i]);
        cli_catch_interrupt();

        int rc = commands[i].run(argc - 1, argv + 1);

        return rc == CLI_SERVED ? CLI_OK : rc;
    }
    return cli_usage("unknown command %s", argv[1]);
}
