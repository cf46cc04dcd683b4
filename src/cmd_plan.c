/*
 * cmd_plan.c - tlp plan: choose the subcommand.
 */
#include <string.h>

#include "cli.h"
#include "commands.h"
#include "plan_commands.h"

static const cli_command parts[] = {
    { "plan make",
      "-m FILE --text FILE (--depth N | --max-kl X | --speedup S | "
      "--exchanges N) -o PLAN.json",
      "Choose layers to join, or exchanges to leave out, by their cost in "
      "quality",
      plan_make },
    { "plan adjust",
      "-m FILE --plan PLAN --text FILE [--gains] [--norms] [--rank R] "
      "-o PLAN2.json",
      "Fit a plan's groups or tracks to the serial model", plan_adjust },
    { "plan carry", "-m FILE --from FILE --plan PLAN -o PLAN2.json",
      "Make a plan for another file of its model", plan_carry },
    { "plan bake",
      "-m FILE --plan PLAN --text FILE -o OUT.gguf [--plan-out PLAN2.json]",
      "Write a model whose order of hidden units suits a plan", plan_bake },
    { "plan train",
      "-m FILE --plan PLAN --text FILE (--full | --lora R) "
      "[--model-out OUT.gguf] -o PLAN2.json",
      "Train the layers that a plan changes", plan_train },
    { "plan merge",
      "-m FILE --plan PLAN (-o OUT.gguf [--plan-out PLAN2.json] | --lora-out "
      "LORA.gguf)",
      "Write a model with a plan's LoRA in its matrices, or an adapter",
      plan_merge },
    { "plan show", "-m FILE --plan PLAN", "Show a plan's groups and its record",
      plan_show },
    { "plan check", "-m FILE --plan PLAN", "Does a plan fit a model?",
      plan_check },
    { "plan diff", "-m FILE --plan PLAN --against PLAN",
      "Show where two plans differ", plan_diff },
};

#define N_PARTS (sizeof parts / sizeof parts[0])

static int print_help(FILE *f)
{
    fprintf(f, "usage: tlp plan PART [options]\n\n");
    for (size_t i = 0; i < N_PARTS; i++)
        fprintf(f, "  %-12s %s\n", parts[i].name, parts[i].summary);
    fprintf(f, "\ntlp plan PART --help shows the options of a part.\n");
    return f == stdout ? cli_close_stdout() : CLI_USAGE;
}

int cmd_plan(int argc, char **argv)
{
    if (argc < 2)
        return print_help(stderr);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return print_help(stdout);
    for (size_t i = 0; i < N_PARTS; i++) {
        if (strcmp(argv[1], parts[i].name + strlen("plan ")))
            continue;
        cli_set_command(&parts[i]);
        return parts[i].run(argc - 1, argv + 1);
    }
    return cli_usage("%s: one of make, adjust, carry, bake, train, merge, "
                     "show, check and diff expected",
                     argv[1]);
}
