//! The few DER structures (ITU-T X.690) that keys and certificates are made of.

/// A value with its tag and length.
pub fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let used = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            // At most eight, see above.
            out.push(0x80 | u8::try_from(used.len()).unwrap_or(8));
            out.extend_from_slice(used);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The tag of sequences.
pub const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `id-ecPublicKey` with `prime256v1`, RFC 5480.
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// `rsaEncryption` with null parameters, RFC 3279.
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// A sequence of parts.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    wrap(SEQUENCE, parts)
}

/// A positive INTEGER of big-endian bytes.
pub fn positive(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros.min(bytes.len().saturating_sub(1))..];
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) {
        &[0]
    } else {
        &[]
    };
    wrap(INTEGER, &[sign, digits])
}

/// A BIT STRING of whole bytes.
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    wrap(BIT_STRING, &[&[0], bytes])
}

/// A BIT STRING of named bits, of which the first is the highest.
pub fn named_bits(set: u16) -> Vec<u8> {
    let bytes = set.to_be_bytes();
    let used = if bytes[1] != 0 { 2 } else { 1 };
    let unused = u8::try_from(bytes[used - 1].trailing_zeros().min(7)).unwrap_or(0);
    wrap(BIT_STRING, &[&[unused], &bytes[..used]])
}

/// The ECDSA signature of RFC 3279 out of its two numbers side by side.
pub fn ecdsa_signature(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    sequence(&[&positive(r), &positive(s)])
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &bits(key)])
}

/// SubjectPublicKeyInfo (RFC 5280) of a point on P-256.
pub fn p256_spki(point: &[u8]) -> Vec<u8> {
    spki(P256, point)
}

/// SubjectPublicKeyInfo of an RSAPublicKey.
pub fn rsa_spki(key: &[u8]) -> Vec<u8> {
    spki(RSA, key)
}

/// PKCS #8 (RFC 5208) of a key as SEC 1 has it, RFC 5915.
pub fn p256_pkcs8(sec1: &[u8]) -> Vec<u8> {
    wrap(SEQUENCE, &[&[0x02, 0x01, 0x00], P256, &wrap(0x04, &[sec1])])
}

/// Tag, content and rest.
fn take(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let number = usize::from(first & 0x7f);
        if number == 0 || number > 4 || rest.len() < number {
            return None;
        }
        let length = rest[..number]
            .iter()
            .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        (length, &rest[number..])
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017), without leading zeros.
pub fn rsa_parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, content, _) = take(key)? else {
        return None;
    };
    let (2, modulus, rest) = take(content)? else {
        return None;
    };
    let (2, exponent, _) = take(rest)? else { return None };
    let trim = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((&modulus[trim(modulus)..], &exponent[trim(exponent)..]))
}

/// The key inside a SubjectPublicKeyInfo, and whether it is RSA (else a point on P-256); `None` for other keys.
pub fn open_spki(input: &[u8]) -> Option<(bool, &[u8])> {
    let (SEQUENCE, content, _) = take(input)? else {
        return None;
    };
    let (SEQUENCE, _, rest) = take(content)? else {
        return None;
    };
    let algorithm = &content[..content.len() - rest.len()];
    let (BIT_STRING, bits, _) = take(rest)? else {
        return None;
    };
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else {
        return None;
    };
    match algorithm {
        P256 => Some((false, key)),
        RSA => Some((true, key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bits_are_as_short_as_can_be() {
        assert_eq!(positive(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(positive(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(positive(&[0, 0]), [2, 1, 0]);
        assert_eq!(named_bits(0b1010_0000_0000_0000), [3, 2, 5, 0b1010_0000]);
        assert_eq!(named_bits(0b0000_0000_1000_0000), [3, 3, 7, 0, 0b1000_0000]);
        assert_eq!(ecdsa_signature(&[0, 1, 0x80, 2]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]);
    }

    #[test]
    fn keys_come_out_as_they_went_in() {
        let point = [4u8; 65];
        assert_eq!(open_spki(&p256_spki(&point)), Some((false, &point[..])));
        let modulus = [vec![0], vec![0x81; 256]].concat();
        let key = wrap(0x30, &[&wrap(2, &[&modulus]), &wrap(2, &[&[1, 0, 1]])]);
        let spki = rsa_spki(&key);
        assert_eq!(open_spki(&spki), Some((true, &key[..])));
        assert_eq!(rsa_parts(&key), Some((&modulus[1..], &[1u8, 0, 1][..])));
        for cut in 0..spki.len() {
            assert_eq!(open_spki(&spki[..cut]), None);
        }
    }
}
