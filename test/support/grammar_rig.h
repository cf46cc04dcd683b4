/*
 * grammar_rig.h - grammars on a small vocabulary: which texts match.
 */
#ifndef GRAMMAR_RIG_H
#define GRAMMAR_RIG_H

#include "check.h"

/* Tokens of the vocabulary behind the 256 bytes, in byte-level BPE. */
enum { RIG_START = 256, RIG_END, RIG_THINK, RIG_DONE, RIG_FIRST_WORD };

/* The model is the test's; it has bytes, control tokens, <think> and </done> as
 * user-defined tokens, words, and bytes of characters in pieces. */
tlp_model *rig_bpe(void);
/* Words of SentencePiece with blanks in front, and <0xNN>. */
tlp_model *rig_spm(void);
/* Bytes alone, and no token that ends a text. */
tlp_model *rig_endless(void);

tlp_grammar *rig_grammar(tlp_model *model, const char *gbnf);
tlp_grammar *rig_schema(tlp_model *model, const char *json);

/* What a grammar says of a text, read as tokens of one byte. */
typedef enum rig_verdict {
    RIG_NO,   /* no text that begins so matches */
    RIG_PART, /* more must follow */
    RIG_MAY,  /* the text matches, and more may follow */
    RIG_ALL   /* the text matches, and no more may follow */
} rig_verdict;
rig_verdict rig_match(tlp_grammar *g, const char *text, size_t n);

/* The mask of a matcher has just the tokens that it accepts. */
void rig_check_mask(tlp_grammar *g, const tlp_model *model, tlp_matcher *m);
/* The number of tokens in the mask. */
int rig_count(tlp_matcher *m);

#endif
