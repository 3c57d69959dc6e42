//! Makes other inputs of some.

use crate::random::Random;

/// Maximum bytes of an input: all limits are reached with fewer.
const MAX_BYTES: usize = 8 << 10;

/// What lengths, counts and numbers of binary formats look like at their edges.
const NUMBERS: &[&[u8]] = &[
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80\x01",
    b"\xff\x7f",
    b"\xff\xff\x03",
    b"\x80\x80\x80\x08",
    b"\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\x0f",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00\x00\x00\xf0\x7f",
    b"\x00\x00\x00\x00\x00\x00\xf8\x7f",
];

/// The same of text.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1700000000000",
    b"2023-02-29T24:00:60Z",
    b"[",
    b"{",
    b"]",
    b"}",
    b"\"",
    b":",
    b",",
    b"&",
    b"=",
    b"%",
    b"%ff",
    b"%00",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\n",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"- ",
    b"*a",
    b"&a ",
    b"<<: ",
    b"!!",
    b"--- ",
];

/// One of `known`, changed in one place or in a few, or random bytes.
pub(crate) fn mutate(random: &mut Random, known: &[Vec<u8>]) -> Vec<u8> {
    if random.below(32) == 0 {
        let length = random.below(64);
        return random.bytes(length);
    }
    let mut bytes = random.of(known).clone();
    for _ in 0..1 + random.below(4) {
        change(random, &mut bytes, known);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, known: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let some = random.below(bytes.len() - at + 1).min(1 << random.below(12));
    let part = at..at + some;
    match random.below(12) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(part)),
        2 => {
            let again = bytes[part].to_vec();
            let times = 1 + random.below(8);
            bytes.splice(at..at, again.repeat(times));
        }
        3 => {
            let length = random.below(16);
            let new = random.bytes(length);
            bytes.splice(at..at, new);
        }
        4 | 5 => {
            let number = *random.of(NUMBERS);
            let replaced = if random.below(2) == 0 { 0 } else { number.len().min(bytes.len() - at) };
            bytes.splice(at..at + replaced, number.iter().copied());
        }
        6 => {
            let word = *random.of(WORDS);
            bytes.splice(at..at, word.iter().copied());
        }
        7 => replace_digits(random, bytes, at),
        8 => {
            let other = random.of(known);
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            bytes.splice(part, other[from..to].iter().copied());
        }
        9 if at < bytes.len() => bytes[at] = random.next() as u8,
        10 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add([1, 0xff][random.below(2)]),
        _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        _ => bytes.push(random.next() as u8),
    }
}

/// Puts another number in the place of the next one in a text.
fn replace_digits(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(from) = bytes[at..].iter().position(is_digit).map(|found| at + found) else { return };
    let digits = bytes[from..].iter().take_while(|byte| is_digit(byte)).count();
    let word = *random.of(&WORDS[..11]);
    bytes.splice(from..from + digits, word.iter().copied());
}
