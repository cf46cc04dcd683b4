/*
 * rows.c - what the rows of logits belong to.
 *
 * Only an evaluation makes rows, and it drops the rows before it.  Between two
 * evaluations sequences can only become shorter, or copies of others.  So a row
 * is that of the sequence in whose name it is kept, as long as the sequence, or
 * a copy of it, reaches beyond the row's position.
 */
#include <math.h>

#include "session/session.h"

static bool holds(const tlp_session *s, int32_t seq, tlpi_place p)
{
    return s->kept_as[seq] == p.seq && s->pos[seq] > p.pos;
}

static bool is_held(const tlp_session *s, tlpi_place p)
{
    if (holds(s, p.seq, p))
        return true;
    for (int32_t i = 0; i < s->cfg.n_seq; i++)
        if (holds(s, i, p))
            return true;
    return false;
}

tlp_status tlpi_session_check_row(const tlp_session *s, size_t row)
{
    tlp_status st = tlpi_session_check(s);

    if (st != TLP_OK)
        return st;
    if (s->n_row == 0)
        return tlpi_fail(TLP_ESTATE, "nothing was evaluated that kept logits");
    if (row >= s->n_row)
        return tlpi_fail(TLP_EINVAL, "row %zu: the last evaluation kept %zu",
                         row, s->n_row);
    return TLP_OK;
}

tlp_status tlpi_session_check_held(const tlp_session *s, size_t row)
{
    tlpi_place p = s->place[row];

    if (is_held(s, p))
        return TLP_OK;
    return tlpi_fail(TLP_ESTATE,
                     "row %zu: it follows position %d, which sequence %d no "
                     "longer holds",
                     row, p.pos, p.seq);
}

/* ==== failures =========================================================== */

tlp_status tlpi_session_fail_at(const tlp_session *s, size_t row, tlp_status st)
{
    return tlpi_fail_prefix(st, "row %zu (sequence %d, position %d): ", row,
                            s->place[row].seq, s->place[row].pos);
}

tlp_status tlpi_fail_logit(int32_t token, float logit)
{
    return tlpi_fail(TLP_ERROR,
                     "the logit of token %d is %s, a finite number or -inf "
                     "expected",
                     token, isnan(logit) ? "NaN" : "+inf");
}

/* ==== public ============================================================= */

tlp_status tlpi_session_get_place(int32_t *seq, int32_t *pos,
                                  const tlp_session *s, size_t row)
{
    tlp_status st = TLP_OK;

    if (seq)
        *seq = -1;
    if (pos)
        *pos = -1;
    if (!seq || !pos || !s)
        return tlpi_fail(TLP_EINVAL, "seq, pos and session are required");
    TLP_TRY(tlpi_session_check_row(s, row));
    *seq = s->place[row].seq;
    *pos = s->place[row].pos;
done:
    return st;
}

tlp_status tlpi_session_find_row(size_t *row, const tlp_session *s, int32_t seq)
{
    tlp_status st = TLP_OK;

    if (row)
        *row = SIZE_MAX;
    if (!row || !s)
        return tlpi_fail(TLP_EINVAL, "row and session are required");
    TLP_TRY(tlpi_session_check_seq(s, seq));
    if (s->pos[seq] == 0)
        return tlpi_fail(TLP_ESTATE,
                         "sequence %d is empty: evaluate a token first", seq);
    for (size_t i = s->n_row; i-- > 0;)
        if (s->place[i].seq == s->kept_as[seq] &&
            s->place[i].pos == s->pos[seq] - 1) {
            *row = i;
            return TLP_OK;
        }
    st = tlpi_fail(TLP_ESTATE,
                   "sequence %d: the logits of its last token, at position %d, "
                   "are not kept: evaluate that token with its logits first",
                   seq, s->pos[seq] - 1);
done:
    return st;
}
