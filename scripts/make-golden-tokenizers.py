#!/usr/bin/env python3
"""Write test/data/tokenizers: tokenizer.json files and token ids of hard texts.

    python3 -m venv v && v/bin/pip install tokenizers
    v/bin/python scripts/make-golden-tokenizers.py

Each NAME.json is a small tokenizer.json with the normalizer, the pre-tokenizer,
the decoder and the post-processor of a family of models.  Byte-level
vocabularies are trained here on the text below, some of them without its
pre-tokenizer (ANYWHERE): their tokens reach over the ends of words, so that ids
change wherever a text is cut elsewhere.  The vocabulary in
SentencePiece's style has a score for each token, and its merges are all pairs
of tokens that make a token, in the order of scores: so does transformers
convert SentencePiece's files.

ids.txt has a line for each tokenizer and text: NAME | text | ids, the text as a
JSON string, with the ids of the tokenizers package.
"""
import json
import os
import sys

try:
    from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                            normalizers, pre_tokenizers, processors, trainers)
except ImportError as e:
    sys.exit(f"make-golden-tokenizers: {e}: try pip install tokenizers")

OUT = "test/data/tokenizers"
BLANK = "\u2581"
SIZE = 420

TRAIN = """The quick brown fox jumps over the lazy dog's back, doesn't it?
We're 12 of 345, they've 6789 words; I'll say they'd know what I'm doing.
Alice was beginning to get very tired of sitting by her sister on the bank.
    def add(a, b):
        return a + b  # the sum of a and b
Ein Käfer läuft über die Straße. L'été dernier, la forêt était déjà verte.
Съешь же ещё этих мягких французских булок. 日本語の文章です。これは本です。
100 200 3000 40000 ... !!! ??? --- === <<>> (x) [y] {z} "quoted" 'single'
"""

# Llama 3's pattern with {digits} for runs of digits.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
           r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# The pattern of GPT-4o, which Mistral's differs from in {suffix} and {digits}:
# words begin with capitals, or end in small letters.
CAPITAL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = "|".join([
    r"[^\r\n\p{L}\p{N}]?" + CAPITAL + "*" + SMALL + "+SUFFIX",
    r"[^\r\n\p{L}\p{N}]?" + CAPITAL + "+" + SMALL + "*SUFFIX",
    r"DIGITS", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)",
    r"\s+"])
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

ANYWHERE = """camelCase HTTPServer iPhone McDonald's USA'S they'LL NaNs ABCdEF
x1y22 a/b//c\n/d ://\n\n !=\n (A)b [C]d _Ee -Ff 123 4567 89'd Élan ÀÉÎõü ΑΒΓδε
ДЖзи ǅungla ǅǅ ʰaʰB ªº 文Abc日bC 本D e\u0301E\u0301e नमस्ते हिन्दी สวัสดี مرحبا
the end. The End! THE END? don't DON'T\r\nit's \t\tx  y   Z    w
""" * 2

TEXTS = [
    "",
    " ",
    "Hello world",
    " leading blank",
    "trailing blank ",
    "two  blanks   three    four",
    "tabs\tand\t\ttabs",
    "lines\nand\n\nlines\n\n\n",
    "  \n  \n x",
    "\r\nwindows\r\n",
    "The quick brown fox's back doesn't they'll I'M WE'RE",
    "1 12 123 1234 12345 1234567 3.14 1,000",
    "a1b22c333",
    "x = [1, 2]; y += f(x) # !!",
    "    def add(a, b):\n        return a + b\n",
    "läuft über Straße",
    "Съешь же ещё",
    "日本語の文章です。",
    "emoji 🦙🚀 and ‍ joiner",
    "non\u00a0breaking\u3000wide",
    "e\u0301 combining",
    "<|im_start|>user\nhi<|im_end|>\n",
    "text <s>[x]</s> <s> again",
    "a<tag>b <tag> <tag><|im_end|>",
    "\u2581 literal \u2581\u2581 lower blocks",
    "!!!???...",
    "'''\"\"\"",
    "\u0000nul\u0001soh\u007f",
    "camelCase HTTPServer iPhone McDonald's USA'S they'LL NaNs ABCdEF",
    "Élan ÀÉÎõü ΑΒΓδε ДЖзи ǅungla ǅǅ ʰaʰB ªº",
    "文Abc日bC 本D 日本語ABC",
    "e\u0301E\u0301e \u0301\u0301x X\u0301\u0301 \u0301",
    "नमस्ते हिन्दी สวัสดี مرحبا",
    "a/b//c\n/d ://\n\n !=\n/ /\r\n/x",
    "(A)b [C]d _Ee -Ff \tG\u00a0H\u3000I 1A2b'S3't",
    "a'sb A'Sb 'tis 'Twas I'd've y'all'd '' 's",
    "$5 + 6 = €11 <a> `b` ^c ~d |e ¬f ©g",
    "Ⅷ ² ½ ٣٤٥ ৪ 12½34",
    "don't DON'T\r\nit's \t\tx  y   Z    w\n\n  \n",
]


def byte_level(pre, ignore_merges=False, normalizer=None, bos=None,
               anywhere=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False) if anywhere else pre
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    text = ANYWHERE + TRAIN if anywhere else TRAIN
    t.train_from_iterator([text] * 3, trainers.BpeTrainer(
        vocab_size=(620 if anywhere else SIZE) - 1,
        max_token_length=6 if anywhere else None, min_frequency=1, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special))
    t.pre_tokenizer = pre
    t.add_tokens([AddedToken("<tag>", special=False, normalized=False)])
    if bos:
        t.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                special_tokens=[(bos, t.token_to_id(bos))])])
    return t


def isolated(*patterns, digits=False):
    steps = [pre_tokenizers.Split(Regex(p), behavior="isolated", invert=False)
             for p in patterns]
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence(steps + [
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def split(digits):
    return isolated(PATTERN.replace("DIGITS", digits))


def cased(suffix, digits):
    return isolated(CASED.replace("SUFFIX", suffix).replace("DIGITS", digits))


def digits_and_bytes():
    return pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])


def pieces():
    """Tokens of SentencePiece's style with their scores: control tokens, bytes,
    strings of the training text, the most frequent first, and letters."""
    text = BLANK + TRAIN.replace(" ", BLANK)
    count = {}
    for n in range(2, 7):
        for i in range(len(text) - n + 1):
            s = text[i:i + n]
            if "\n" not in s and BLANK not in s[1:]:
                count[s] = count.get(s, 0) + 1
    count[BLANK * 2] = 1000
    count[BLANK * 4] = 999
    best = sorted(count, key=lambda s: (-count[s], s))[:400]
    letters = sorted(set(text) - {"\n"})
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    score = {}
    for i, s in enumerate(best + letters):
        score[s] = -i
    return tokens + best + letters, score


def sentence_piece(normalizer, pre, legacy):
    tokens, score = pieces()
    ids = {s: i for i, s in enumerate(tokens)}
    merges = []
    for s in score:
        pairs = [(s[:i], s[i:]) for i in range(1, len(s))
                 if s[:i] in ids and s[i:] in ids]
        merges += [(score[s], len(a), len(b), a, b) for a, b in
                   sorted(pairs, key=lambda p: (ids[p[0]], ids[p[1]]))]
    merges.sort(key=lambda m: m[:3], reverse=True)
    t = Tokenizer(models.BPE(vocab=ids, merges=[m[3:] for m in merges],
                             unk_token="<unk>", fuse_unk=True,
                             byte_fallback=True))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.decoder = decoders.Sequence([
        decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if legacy else []))
    t.add_special_tokens([AddedToken(s, normalized=False)
                          for s in ("<unk>", "<s>", "</s>")])
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return t


def blanks(prepend):
    replace = normalizers.Replace(" ", BLANK)
    return normalizers.Sequence([normalizers.Prepend(BLANK), replace]) \
        if prepend else replace


TOKENIZERS = {
    "gpt-2": lambda: byte_level(
        pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "smollm": lambda: byte_level(digits_and_bytes()),
    "llama-bpe": lambda: byte_level(split(r"\p{N}{1,3}"), ignore_merges=True,
                                    bos="<|endoftext|>"),
    "dbrx": lambda: byte_level(split(r"\p{N}{1,3}")),
    "qwen2": lambda: byte_level(split(r"\p{N}"), normalizer=normalizers.NFC()),
    "tekken": lambda: byte_level(cased("", r"\p{N}"), ignore_merges=True,
                                 bos="<|endoftext|>", anywhere=True),
    "gpt-4o": lambda: byte_level(cased(SUFFIX, r"\p{N}{1,3}"), anywhere=True),
    "glm4": lambda: byte_level(split(r"\p{N}{1,3}"), anywhere=True),
    "deepseek-coder": lambda: byte_level(
        isolated("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+",
                 "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", digits=True),
        anywhere=True),
    "exaone4": lambda: byte_level(
        pre_tokenizers.ByteLevel(add_prefix_space=False), anywhere=True),
    "llama-2": lambda: sentence_piece(blanks(True), None, True),
    "gemma": lambda: sentence_piece(
        blanks(False), pre_tokenizers.Split(" ", "merged_with_previous"),
        False),
    "mistral": lambda: sentence_piece(
        None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        True),
}


def main():
    os.makedirs(OUT, exist_ok=True)
    with open(f"{OUT}/ids.txt", "w", encoding="utf-8") as f:
        for name, make in TOKENIZERS.items():
            t = make()
            with open(f"{OUT}/{name}.json", "w", encoding="utf-8") as g:
                json.dump(json.loads(t.to_str()), g, ensure_ascii=True,
                          separators=(",", ":"))
                g.write("\n")
            for text in TEXTS:
                ids = t.encode(text).ids
                f.write(f"{name} | {json.dumps(text)} | "
                        f"{' '.join(map(str, ids))}\n")


if __name__ == "__main__":
    main()
