/*
 * tiny_vocab.h - a small byte-level BPE vocabulary.
 *
 *   0 .. 255          the bytes, in the alphabet of byte-level BPE
 *   256 .. n_vocab-3  merges: some of English, then letters in all orders
 *   n_vocab-2, -1     <|im_start|> (BOS), <|im_end|> (EOS), control tokens
 */
#ifndef TINY_VOCAB_H
#define TINY_VOCAB_H

#include "gguf_writer.h"

bool tiny_vocab_fits(int n_vocab);
void tiny_vocab_write(gw_file *w, int n_vocab, bool add_bos);

#endif
