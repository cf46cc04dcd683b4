//! Models of the tests: a tiny one with fixed random weights, which a test writes
//! as a GGUF file, and SmolLM2 where it has been fetched.
#![allow(dead_code)] // each test program uses a part

use std::path::PathBuf;

const N_EMBD: u64 = 32;
const N_FF: u64 = 48;
const N_LAYER: usize = 4;
const N_VOCAB: u64 = 257;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn key(out: &mut Vec<u8>, name: &str, kind: u32, value: &[u8]) {
    text(out, name);
    out.extend(kind.to_le_bytes());
    out.extend(value);
}

/// The character that byte-level BPE writes for a byte.
fn byte_char(byte: u8) -> char {
    let plain = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || b >= 174;
    if plain(byte.into()) {
        return char::from(byte);
    }
    let before = (0..u32::from(byte)).filter(|b| !plain(*b)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

fn array(kind: u32, n: u64, content: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(n.to_le_bytes());
    out.extend(content);
    out
}

fn metadata() -> (u64, Vec<u8>) {
    let (mut out, mut n) = (Vec::new(), 0);
    let mut put = |name: &str, kind: u32, value: &[u8]| {
        key(&mut out, name, kind, value);
        n += 1;
    };
    let string = |value: &str| {
        let mut bytes = Vec::new();
        text(&mut bytes, value);
        bytes
    };
    put("general.architecture", 8, &string("llama"));
    for (name, value) in [
        ("llama.block_count", N_LAYER as u32),
        ("llama.context_length", 256),
        ("llama.embedding_length", N_EMBD as u32),
        ("llama.feed_forward_length", N_FF as u32),
        ("llama.attention.head_count", 2),
        ("llama.attention.head_count_kv", 2),
        ("llama.vocab_size", N_VOCAB as u32),
        ("tokenizer.ggml.eos_token_id", 256),
    ] {
        put(name, 4, &value.to_le_bytes());
    }
    put(
        "llama.attention.layer_norm_rms_epsilon",
        6,
        &1e-5f32.to_le_bytes(),
    );
    put("tokenizer.ggml.model", 8, &string("gpt2"));
    put("tokenizer.ggml.pre", 8, &string("gpt-2"));
    let (mut tokens, mut types) = (Vec::new(), Vec::new());
    for byte in 0..=255 {
        text(&mut tokens, &byte_char(byte).to_string());
        types.extend(1i32.to_le_bytes());
    }
    text(&mut tokens, "<|end|>");
    types.extend(3i32.to_le_bytes());
    put("tokenizer.ggml.tokens", 9, &array(8, N_VOCAB, &tokens));
    put("tokenizer.ggml.token_type", 9, &array(5, N_VOCAB, &types));
    put("tokenizer.ggml.merges", 9, &array(8, 0, &[]));
    (n, out)
}

fn tensors() -> Vec<(String, Vec<u64>)> {
    let mut list = vec![
        ("token_embd.weight".into(), vec![N_EMBD, N_VOCAB]),
        ("output_norm.weight".into(), vec![N_EMBD]),
    ];
    for i in 0..N_LAYER {
        for (name, ne) in [
            ("attn_norm", vec![N_EMBD]),
            ("ffn_norm", vec![N_EMBD]),
            ("attn_q", vec![N_EMBD, N_EMBD]),
            ("attn_k", vec![N_EMBD, N_EMBD]),
            ("attn_v", vec![N_EMBD, N_EMBD]),
            ("attn_output", vec![N_EMBD, N_EMBD]),
            ("ffn_gate", vec![N_EMBD, N_FF]),
            ("ffn_up", vec![N_EMBD, N_FF]),
            ("ffn_down", vec![N_FF, N_EMBD]),
        ] {
            list.push((format!("blk.{}.{}.weight", i, name), ne));
        }
    }
    list
}

/// Writes a tiny llama; tokens 0 to 255 are bytes, 256 ends a text.
pub fn tiny(name: &str) -> PathBuf {
    let (n_meta, meta) = metadata();
    let list = tensors();
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((list.len() as u64).to_le_bytes());
    out.extend(n_meta.to_le_bytes());
    out.extend(meta);
    let mut data = Vec::new();
    let mut state = 1u32;
    for (name, ne) in &list {
        text(&mut out, name);
        out.extend((ne.len() as u32).to_le_bytes());
        for n in ne {
            out.extend(n.to_le_bytes());
        }
        out.extend(0u32.to_le_bytes()); // F32
        out.extend((data.len() as u64).to_le_bytes());
        for _ in 0..ne.iter().product::<u64>() {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            let value = if ne.len() == 1 { 1.0 } else { noise * 0.6 };
            data.extend(value.to_le_bytes());
        }
    }
    out.resize((out.len() + 31) / 32 * 32, 0);
    out.extend(data);
    let path = folder().join(format!("{}.gguf", name));
    std::fs::write(&path, out).unwrap();
    path
}

/// A folder for files of this test program.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// SmolLM2, or None with a message.
pub fn smollm2() -> Option<PathBuf> {
    let path = std::env::var_os("TLP_TEST_MODEL").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
                PathBuf::from,
            );
            cache.join("libtlp/SmolLM2-135M-Instruct.Q4_1.gguf")
        },
        PathBuf::from,
    );
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no SmolLM2; scripts/fetch-model.sh fetches it");
    None
}
