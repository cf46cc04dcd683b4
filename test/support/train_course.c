/*
 * train_course.c - see train_course.h.
 */
#include "support/train_course.h"

#include <signal.h>
#include <unistd.h>

#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"

int32_t course_ids[COURSE_TOKENS];
tlp_session_options course_session;
const char *course_result, *course_state;

tlp_model *course_model(uint64_t seed)
{
    return course_model_of("llama", seed);
}

tlp_model *course_model_of(const char *arch, uint64_t seed)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.arch = arch;
    spec.type = TLPI_F16;
    spec.seed = seed;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(course_ids, COURSE_TOKENS, (size_t)spec.n_vocab, 11);
    return m;
}

static void see(const tlp_train_point *p, void *arg)
{
    course *c = arg;

    cr_assert_lt(c->n_point, COURSE_POINTS);
    c->point[c->n_point++] = *p;
}

static int step(double done, void *arg)
{
    course *c = arg;

    (void)done;
    c->n_call++;
    if (c->n_call == c->kill_at)
        kill(getpid(), SIGKILL);
    return c->n_call == c->cancel_at;
}

tlp_plan_train_options course_options(course *c)
{
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;

    course_session = plan_rig_session(COURSE_CTX);
    course_result = tiny_path("trained.gguf");
    course_state = tiny_path("state");
    *c = (course){ 0 };
    o.session = &course_session;
    o.n_token = 44 * COURSE_CTX;
    o.rate = 1e-3;
    o.held_out = 0.2;
    o.point = see;
    o.point_data = c;
    o.progress = step;
    o.progress_data = c;
    return o;
}

static const char plan_text[] = "nosync@2:1,2a;par:3-4";

tlp_status course_train(tlp_model *m, const tlp_plan_train_options *o,
                        char **json)
{
    tlp_plan *plan = NULL, *trained = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, plan_text));
    tlp_status st = tlp_plan_train(&trained, NULL, plan, course_result,
                                   course_ids, COURSE_TOKENS, o);

    if (st == TLP_OK && json)
        *json = plan_rig_format(trained, TLP_PLAN_JSON);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    return st;
}
