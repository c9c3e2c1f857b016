#!/usr/bin/env python3
"""Makes the texts that every peer gets, and the folders that peers read: texts.py MODEL CORPUS.jsonl OUT (run by ci/peers/run)

  mixed.jsonl    the corpus as it is; the peers cut at the model's own length
  cut.jsonl      the same, cut before at the end of the last token that the model reads, for peers that cannot cut
  short.jsonl    pieces of the corpus of exactly 32 tokens, [CLS] and [SEP] among them
  query.jsonl    pieces of exactly 16 tokens
  facts.json     how many texts and tokens
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer

SPECIAL = 2
SHORT, SHORT_TEXTS = 32, 1000
QUERY, QUERY_TEXTS = 16, 100


def pieces(tokenizer, texts, encodings, length, wanted):
    """Texts that come to exactly `length` tokens: each from the beginning of a word to the end of a token, spread over the corpus."""
    found = []
    for text, encoding in zip(texts, encodings):
        at, count = 0, len(encoding.ids)
        while at + length - SPECIAL <= count:
            if encoding.tokens[at].startswith("##"):
                at += 1
                continue
            found.append(text[encoding.offsets[at][0]:encoding.offsets[at + length - SPECIAL - 1][1]])
            at += length - SPECIAL
    exact = [piece for piece, encoding in zip(found, tokenizer.encode_batch(found)) if len(encoding.ids) == length]
    step = max(1, len(exact) // wanted)
    return exact[::step][:wanted]


def main():
    model, corpus, out = (pathlib.Path(word) for word in sys.argv[1:])
    limit = json.loads((model / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines() if line.strip()]
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    cut = [text if len(e.ids) <= limit - SPECIAL else text[:e.offsets[limit - SPECIAL - 1][1]] for text, e in zip(texts, encodings)]
    for (text, short), encoding, again in zip(zip(texts, cut), encodings, tokenizer.encode_batch(cut, add_special_tokens=False)):
        if again.ids != encoding.ids[:limit - SPECIAL]:
            sys.exit(f"error: cut at the end of a token, a text has other tokens: {short[:80]!r}")
    short = pieces(tokenizer, texts, encodings, SHORT, SHORT_TEXTS)
    query = pieces(tokenizer, texts, encodings, QUERY, QUERY_TEXTS)
    if not short or not query:
        sys.exit("error: the corpus has no text that is long enough")
    for name, content in (("mixed", texts), ("cut", cut), ("short", short), ("query", query), ("one", query[:1])):
        (out / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in content), encoding="utf-8")
    facts = {"limit": limit, "cut": sum(a != b for a, b in zip(texts, cut)), "mixed": {
        "texts": len(texts), "tokens": sum(min(len(e.ids), limit - SPECIAL) + SPECIAL for e in encodings)}}
    for name, content, length in (("short", short, SHORT), ("query", query, QUERY)):
        facts[name] = {"texts": len(content), "tokens": len(content) * length}
    (out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
