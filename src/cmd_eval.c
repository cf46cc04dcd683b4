/*
 * cmd_eval.c - tlp eval: the quality of a plan, alone and against another
 * plan.
 */
#include "commands.h"
#include "eval.h"

static int check_options(const eval *v)
{
    const corpus *text = &v->text;
    bool any = text->text_path || text->id_path || text->own.n;

    if (any + !!v->task_path + !!v->n_drill != 1)
        return cli_usage("one of --text, --tokens, --self, --task and "
                         "--generate is required");
    if (any)
        return v->delimiter ? cli_usage("--delimiter needs --task")
                            : corpus_check(text);
    if (v->delimiter && !v->task_path)
        return cli_usage("--delimiter needs --task");
    if ((v->text.bos || v->text.no_bos) && v->n_drill)
        return cli_usage("--bos and --no-bos need --text, --tokens or --task");
    if (own_text_is_shaped(&text->own))
        return cli_usage(
            "--self-plan, --self-prompts and --self-seed need --self");
    if (corpus_is_cut(text))
        return cli_usage("--max-tokens, --from and --spread need --text or "
                         "--tokens");
    return CLI_OK;
}

int cmd_eval(int argc, char **argv)
{
    eval v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        CORPUS_FILE_OPTIONS(v.text),
        { CLI_TEXT, 0, "task", &v.task_path, "FILE",
          "multiple choice: query, choices, gold on each line", 0, 0 },
        { CLI_INT, 0, "generate", &v.n_drill, "N",
          "copying and adding, N prompts of each kind", 1, 1000000 },
        { CLI_TEXT, 0, "against", &v.against, "PLAN",
          "compare with this plan, usually serial", 0, 0 },
        { CLI_TEXT, 0, "against-model", &v.against_model, "FILE",
          "compare with this file of the model (serial without --against)", 0,
          0 },
        { CLI_INT, 'c', "ctx", &v.text.ctx, "N",
          "tokens in a window (512), or in an item at most", 2, INT32_MAX },
        { CLI_INT, 0, "max-tokens", &v.text.max_tokens, "N",
          "score the first N tokens only (0: all)", 0, INT32_MAX },
        { CLI_TEXT, 0, "delimiter", &v.delimiter, "TEXT",
          "between query and choice (a blank)", 0, 0 },
        { CLI_SEED, 0, "seed", &v.seed, "N",
          "seed of the intervals and of generated prompts (0)", 0, 0 },
        { CLI_FLAG, 0, "json", &v.as_json, NULL, "print JSON", 0, 0 },
        ENGINE_PLAN_OPTION(v.e),
        ENGINE_SESSION_OPTIONS(v.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (v.against_model && !v.against)
        v.against = "serial";
    rc = check_options(&v);
    if (rc == CLI_OK)
        rc = engine_start(&v.e, 0);
    if (rc == CLI_OK && v.against_model)
        rc = eval_open_other(&v);
    if (rc == CLI_OK)
        rc = v.task_path ? eval_task(&v)
             : v.n_drill ? eval_drills(&v)
                         : eval_text(&v);
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    eval_close(&v);
    return rc;
}
