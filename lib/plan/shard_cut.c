/*
 * shard_cut.c - balanced borders at legal positions.
 *
 * Byte counts are whole numbers in doubles, so every rank computes equal
 * borders.
 */
#include "plan/shard_cut.h"

#include <math.h>

int64_t tlpi_cut_snap(int64_t n, int64_t step, double share)
{
    double at = TLPI_MIN(TLPI_MAX(share, 0.0), 1.0) * (double)n;
    int64_t below = (int64_t)floor(at / (double)step) * step;
    int64_t above = TLPI_MIN(below + step, n);

    return at - (double)below < (double)above - at ? below : above;
}

/* Members [m0, m1) that ranks [r0, r1) share; cutting sets the borders r0 < r <
 * r1. */
typedef struct section {
    int m0, m1, r0, r1;
} section;

/* The legal position that is nearest to `bytes` bytes from the beginning of the
 * section. */
static int64_t place_head(const tlpi_cut *c, section s, double bytes)
{
    for (int i = s.m0;; i++) {
        double here = (double)c->member[i].attn_bytes;
        if (bytes < here || i + 1 == s.m1)
            return (int64_t)i * c->n_head +
                   tlpi_cut_snap(c->n_head, c->member[i].head_step,
                                 bytes / here);
        bytes -= here;
    }
}

static int64_t place_ff(const tlpi_cut *c, section s, double bytes)
{
    for (int i = s.m0;; i++) {
        double here = (double)c->member[i].ffn_bytes;
        if (bytes < here || i + 1 == s.m1)
            return (int64_t)i * c->n_ff +
                   tlpi_cut_snap(c->n_ff, c->member[i].ff_step, bytes / here);
        bytes -= here;
    }
}

/* Cut a section in the proportions of `want`, attention and FFN separately.  An
 * all-reduce stands between the two, so all ranks wait for a rank with too much
 * attention.  A smaller FFN share could not make up for that wait. */
static void cut_section(tlpi_cut *c, section s)
{
    double attn = 0.0, ffn = 0.0, want = 0.0, upto = 0.0;

    for (int i = s.m0; i < s.m1; i++) {
        attn += (double)c->member[i].attn_bytes;
        ffn += (double)c->member[i].ffn_bytes;
    }
    for (int r = s.r0; r < s.r1; r++)
        want += c->want[r];
    for (int r = s.r0 + 1; r < s.r1; r++) {
        upto += c->want[r - 1];
        c->head[r] = place_head(c, s, attn * (upto / want));
        c->ff[r] = place_ff(c, s, ffn * (upto / want));
    }
}

static uint64_t member_bytes(const tlpi_cut *c, int i)
{
    return c->member[i].attn_bytes + c->member[i].ffn_bytes;
}

static uint64_t total_bytes(const tlpi_cut *c)
{
    uint64_t sum = 0;

    for (int i = 0; i < c->n_member; i++)
        sum += member_bytes(c, i);
    return sum;
}

static void set_border(tlpi_cut *c, int r, int member)
{
    c->head[r] = (int64_t)member * c->n_head;
    c->ff[r] = (int64_t)member * c->n_ff;
}

void tlpi_cut_wide(tlpi_cut *c)
{
    double share = (double)total_bytes(c) / c->n_rank;

    for (int r = 0; r < c->n_rank; r++)
        c->want[r] = share;
    set_border(c, 0, 0);
    set_border(c, c->n_rank, c->n_member);
    cut_section(c, (section){ 0, c->n_member, 0, c->n_rank });
}

/* If there are at least as many members as ranks, each rank gets one or more
 * whole members. */
static void deal_members(tlpi_cut *c)
{
    double share = (double)total_bytes(c) / c->n_rank;
    double upto = 0.0;
    int m = 0;

    for (int r = 1; r < c->n_rank; r++) {
        int last = c->n_member -
                   (c->n_rank - r); /* leave one member for each later rank */
        do
            upto += (double)member_bytes(c, m++);
        while (m < last && share * r - upto >= (double)member_bytes(c, m) / 2);
        set_border(c, r, m);
    }
}

/*
 * Ranks [r0, r1) share member i.  If legal positions are few, a rank between
 * two ranks with parts can have none.  Then the parts of later ranks move to
 * lower ranks, so that the ranks with parts are neighbours and no rank waits
 * without a part.
 */
static void close_gaps(tlpi_cut *c, int i, int r0, int r1)
{
    int64_t head = (int64_t)i * c->n_head, head_end = head + c->n_head;
    int64_t ff = (int64_t)i * c->n_ff, ff_end = ff + c->n_ff;
    bool begun = false;
    int to = r0;

    for (int r = r0; r < r1; r++) {
        int64_t head_next = r + 1 < r1 ? c->head[r + 1] : head_end;
        int64_t ff_next = r + 1 < r1 ? c->ff[r + 1] : ff_end;
        bool empty = head_next == head && ff_next == ff;
        if (empty && begun)
            continue;
        begun = !empty;
        head = head_next;
        ff = ff_next;
        if (++to < r1) {
            c->head[to] = head;
            c->ff[to] = ff;
        }
    }
    for (to++; to < r1; to++)
        set_border(c, to, i + 1);
}

/* Every member gets an equal number of ranks. */
static void cut_evenly(tlpi_cut *c)
{
    int n = c->n_rank / c->n_member;

    for (int i = 0; i < c->n_member; i++) {
        int r0 = i * n;
        for (int r = r0; r < r0 + n; r++)
            c->want[r] = (double)member_bytes(c, i) / n;
        set_border(c, r0, i);
        cut_section(c, (section){ i, i + 1, r0, r0 + n });
        close_gaps(c, i, r0, r0 + n);
    }
}

/*
 * Cut the bytes of the whole group evenly; a rank may have the end of one
 * member and the beginning of the next.  Border r is total*r/n_rank bytes from
 * the beginning.  Positions are multiplied by n_rank and compared as integers,
 * so that the result is exact.
 */
static void cut_by_bytes(tlpi_cut *c)
{
    uint64_t n = (uint64_t)c->n_rank;
    uint64_t total = total_bytes(c);
    uint64_t begin = 0; /* beginning of the member, times n */

    for (int i = 0; i < c->n_member; i++) {
        uint64_t end = begin + member_bytes(c, i) * n;
        int r0 = (int)(begin / total);
        int r1 = (int)((end + total - 1) / total);
        for (int r = r0; r < r1; r++) {
            uint64_t lo = TLPI_MAX((uint64_t)r * total, begin);
            uint64_t hi = TLPI_MIN((uint64_t)(r + 1) * total, end);
            c->want[r] = (double)(hi - lo) / (double)n;
        }
        if (begin % total == 0)
            set_border(c, r0, i);
        cut_section(c, (section){ i, i + 1, r0, r1 });
        close_gaps(c, i, r0, r1);
        begin = end;
    }
}

void tlpi_cut_members(tlpi_cut *c)
{
    set_border(c, 0, 0);
    set_border(c, c->n_rank, c->n_member);
    if (c->n_member >= c->n_rank)
        deal_members(c);
    else if (c->n_rank % c->n_member == 0)
        cut_evenly(c);
    else
        cut_by_bytes(c);
}

/* First unit of track t of T in n units. */
static int64_t track_begin(int n, int step, int t, int n_track)
{
    int64_t n_block = ((int64_t)n * t + (int64_t)n_track * step - 1) /
                      ((int64_t)n_track * step);

    return TLPI_MIN(n_block * step, n);
}

/* The legal position between begin and end that is nearest to `share` of the
 * way. */
static int64_t cut_between(int64_t begin, int64_t end, int step, double share)
{
    return TLPI_MIN(begin + tlpi_cut_snap(end - begin, step, share), end);
}

void tlpi_cut_tracks(tlpi_cut *c, int n_track)
{
    const tlpi_member *m = &c->member[0];
    int n = c->n_rank / n_track;

    for (int t = 0; t <= n_track; t++) {
        c->head[t * n] = track_begin(c->n_head, m->head_step, t, n_track);
        c->ff[t * n] = track_begin(c->n_ff, m->ff_step, t, n_track);
    }
    for (int t = 0; t < n_track; t++) {
        int first = t * n, end = first + n;

        for (int r = first + 1; r < end; r++) {
            double share = (double)(r - first) / n;

            c->head[r] =
                cut_between(c->head[first], c->head[end], m->head_step, share);
            c->ff[r] = cut_between(c->ff[first], c->ff[end], m->ff_step, share);
        }
    }
}
