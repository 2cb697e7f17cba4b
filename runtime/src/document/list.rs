//! Lists of processors and memory nodes, such as `0-3,7`.

use crate::error::{Error, Result};

/// The largest number a list may have: no kernel counts that far.
const LARGEST: usize = 1 << 16;

/// Reads a list.
///
/// # Errors
/// It is none.
pub fn parse(what: &str, list: &str) -> Result<Vec<usize>> {
    let invalid = || Error::Invalid(format!("{what}: {list:?} is no list such as 0-3,7"));
    let mut numbers = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| invalid());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > LARGEST {
            return Err(invalid());
        }
        numbers.extend(first..=last);
    }
    if numbers.is_empty() {
        return Err(invalid());
    }
    Ok(numbers)
}

/// The numbers as the bits of words, as the kernel takes them.
#[must_use]
pub fn mask(numbers: &[usize]) -> Vec<usize> {
    const BITS: usize = usize::BITS as usize;
    let words = numbers.iter().max().map_or(0, |largest| largest / BITS + 1);
    let mut mask = vec![0; words];
    for number in numbers {
        mask[number / BITS] |= 1 << (number % BITS);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!(parse("x", "0-3,7").unwrap(), [0, 1, 2, 3, 7]);
        assert_eq!(parse("x", " 2 , 65,").unwrap(), [2, 65]);
        for bad in ["", ",", "a", "3-1", "-1", "1-", "99999999"] {
            assert!(parse("x", bad).is_err(), "{bad}");
        }
        assert_eq!(mask(&[0, 2, 64]), [0b101, 1]);
    }
}
