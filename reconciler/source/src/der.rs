//! The little of X.509's encoding (X.690, DER) that keys and signatures need: two prefixes of
//! public keys, and a sequence of two numbers. Tools outside of Git and SSH read these forms.

/// What stands before an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410, section 4).
pub(crate) const ED25519: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the point of a P-256 key (RFC 5480, section 2).
pub(crate) const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// The sequence of two positive numbers of at most 32 bytes each: its length always fits one byte.
pub(crate) fn two_numbers(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [number(r), number(s)].concat();
    tagged(SEQUENCE, &body)
}

fn number(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    // A leading zero keeps the number positive; zero itself is one zero.
    let sign: &[u8] = if digits.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    tagged(INTEGER, &[sign, digits].concat())
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    [&[tag, length], body].concat()
}

#[cfg(test)]
mod tests {
    use super::two_numbers;

    #[test]
    fn numbers_are_positive_and_as_short_as_can_be() {
        assert_eq!(two_numbers(&[0, 0, 1], &[0x7f]), [0x30, 6, 2, 1, 1, 2, 1, 0x7f]);
        assert_eq!(two_numbers(&[0x80], &[0, 0]), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 0]);
    }
}
