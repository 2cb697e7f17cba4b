//! Options and arguments, in the way of other OCI runtimes: options first, and what follows the first argument is left
//! alone.

use crate::error::{Error, Result};

/// An option: its name, its letter, and whether a value follows.
pub type Known = (&'static str, Option<char>, bool);

/// What was given.
#[derive(Debug, Default)]
pub struct Arguments {
    options: Vec<(&'static str, Option<String>)>,
    positional: Vec<String>,
}

impl Arguments {
    /// Takes arguments apart.
    pub fn parse(arguments: Vec<String>, known: &[Known]) -> Result<Self> {
        let mut parsed = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            let (name, value) = match (argument.strip_prefix("--"), argument.strip_prefix('-')) {
                (Some(long), _) => match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                },
                (None, Some(short)) if !short.is_empty() => (short, None),
                _ => {
                    parsed.positional.push(argument);
                    break;
                }
            };
            let is = |option: &&Known| option.0 == name || option.1.is_some_and(|letter| name.chars().eq([letter]));
            let Some((name, _, takes_value)) = known.iter().find(is) else {
                return Err(Error::Invalid(format!("there is no option {argument}")));
            };
            let value = match (takes_value, value) {
                (true, None) => {
                    let next = arguments.next();
                    Some(next.ok_or_else(|| Error::Invalid(format!("the option {argument} needs a value")))?)
                }
                (_, value) => value,
            };
            parsed.options.push((name, value));
        }
        parsed.positional.extend(arguments);
        Ok(parsed)
    }

    /// Whether an option was given, and not as `=false`.
    pub fn has(&self, name: &str) -> bool {
        self.options
            .iter()
            .any(|(given, value)| *given == name && value.as_deref() != Some("false"))
    }

    /// The last value of an option.
    pub fn value(&self, name: &str) -> Option<String> {
        self.options
            .iter()
            .rev()
            .find(|(given, _)| *given == name)
            .and_then(|(_, value)| value.clone())
    }

    /// All values of an option.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .filter(move |(given, _)| *given == name)
            .filter_map(|(_, value)| value.as_deref())
    }

    /// What is no option; afterwards it is taken.
    pub fn positional(&mut self) -> Vec<String> {
        std::mem::take(&mut self.positional)
    }

    /// The only argument.
    pub fn only(&mut self, what: &str) -> Result<String> {
        match <[String; 1]>::try_from(self.positional()) {
            Ok([only]) => Ok(only),
            Err(_) => Err(Error::Invalid(format!("{what} is needed, and nothing else"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 3] = [
        ("bundle", Some('b'), true),
        ("detach", Some('d'), false),
        ("env", Some('e'), true),
    ];

    fn parse(words: &[&str]) -> Result<Arguments> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned()).collect(), &KNOWN)
    }

    #[test]
    fn options_come_first() {
        let mut given = parse(&[
            "-b",
            "/x",
            "--detach",
            "--env=A=1",
            "-e",
            "B=2",
            "id",
            "sh",
            "-c",
            "--bundle",
        ])
        .unwrap();
        assert_eq!(given.value("bundle").as_deref(), Some("/x"));
        assert!(given.has("detach") && !given.has("bundle2"));
        assert_eq!(given.values("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(given.positional(), ["id", "sh", "-c", "--bundle"]);
        assert_eq!(parse(&["--", "-x"]).unwrap().only("an id").unwrap(), "-x");
        assert!(parse(&["--nothing"]).is_err());
        assert!(parse(&["--bundle"]).is_err());
        assert!(parse(&["a", "b"]).unwrap().only("an id").is_err());
    }
}
