//! Command lines as text.

/// Splits a command line at white space; single or double quotes keep a word together.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(
            words(r#"get  pod -o 'jsonpath={.a[?(@.b=="c d")]}' "it's" ''"#),
            ["get", "pod", "-o", r#"jsonpath={.a[?(@.b=="c d")]}"#, "it's", ""]
        );
    }
}
