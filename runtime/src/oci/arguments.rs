//! Options and arguments as the callers of OCI runtimes write them: `--name value`, `--name=value`, `-name value`, `-n value`,
//! `-nvalue`, several letters in one, before and after the container's id.

use crate::error::{Error, Result};

/// An option: its name, its letter, and whether a value follows.
pub type Known = (&'static str, Option<char>, bool);

/// Where options are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Everywhere, up to a `--`.
    Anywhere,
    /// Before the first argument that is none: what follows is somebody else's.
    First,
}

/// What was given.
#[derive(Debug, Default)]
pub struct Arguments {
    options: Vec<(&'static str, Option<String>)>,
    positional: Vec<String>,
}

impl Arguments {
    /// Takes arguments apart.
    ///
    /// # Errors
    /// An option nobody knows, or one whose value is missing or is none.
    pub fn parse(arguments: Vec<String>, known: &[Known], order: Order) -> Result<Self> {
        let mut parsed = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            let Some(option) = argument.strip_prefix('-').filter(|option| !option.is_empty()) else {
                parsed.positional.push(argument);
                if order == Order::First {
                    break;
                }
                continue;
            };
            if !parsed.long(option.strip_prefix('-').unwrap_or(option), known, &mut arguments)?
                && (argument.starts_with("--") || !parsed.letters(option, known, &mut arguments)?)
            {
                return Err(Error::Invalid(format!("there is no option {argument}")));
            }
        }
        parsed.positional.extend(arguments);
        Ok(parsed)
    }

    /// Takes `name` or `name=value`; `false` if there is no such option.
    fn long(&mut self, text: &str, known: &[Known], rest: &mut impl Iterator<Item = String>) -> Result<bool> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(option) = known.iter().find(|option| option.0 == name) else {
            return Ok(false);
        };
        self.push(option, value, rest).map(|()| true)
    }

    /// Takes letters, of which the last may have a value behind it; `false` if one is unknown.
    fn letters(&mut self, text: &str, known: &[Known], rest: &mut impl Iterator<Item = String>) -> Result<bool> {
        let mut left = text;
        while let Some(letter) = left.chars().next() {
            let Some(option) = known.iter().find(|option| option.1 == Some(letter)) else {
                return Ok(false);
            };
            left = &left[letter.len_utf8()..];
            if option.2 || left.starts_with('=') {
                let value = left.strip_prefix('=').unwrap_or(left);
                let value = (!value.is_empty()).then(|| value.to_owned());
                return self.push(option, value, rest).map(|()| true);
            }
            self.push(option, None, rest)?;
        }
        Ok(true)
    }

    fn push(
        &mut self,
        (name, _, takes_value): &Known,
        value: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<()> {
        let value = match (takes_value, value) {
            (true, None) => {
                let next = rest.next();
                Some(next.ok_or_else(|| Error::Invalid(format!("the option --{name} needs a value")))?)
            }
            (false, Some(value)) if truth(&value).is_none() => {
                return Err(Error::Invalid(format!("--{name} is true or false, not {value:?}")));
            }
            (_, value) => value,
        };
        self.options.push((name, value));
        Ok(())
    }

    /// Whether an option without a value was given, and not as `=false` the last time.
    pub fn has(&self, name: &str) -> bool {
        let last = self.options.iter().rev().find(|(given, _)| *given == name);
        last.is_some_and(|(_, value)| value.as_deref().and_then(truth).unwrap_or(true))
    }

    /// The last value of an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        let last = self.options.iter().rev().find(|(given, _)| *given == name);
        last.and_then(|(_, value)| value.as_deref())
    }

    /// All values of an option.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .filter(move |(given, _)| *given == name)
            .filter_map(|(_, value)| value.as_deref())
    }

    /// The last value of an option, as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Error::Invalid(format!("--{name} is a number, not {text:?}")))
        };
        self.value(name).map(parse).transpose()
    }

    /// What is no option; afterwards it is taken.
    pub fn positional(&mut self) -> Vec<String> {
        std::mem::take(&mut self.positional)
    }

    /// The only argument.
    ///
    /// # Errors
    /// There is none, or there are more.
    pub fn only(&mut self, what: &str) -> Result<String> {
        match <[String; 1]>::try_from(self.positional()) {
            Ok([only]) => Ok(only),
            Err(_) => Err(Error::Invalid(format!("{what} is needed, and nothing else"))),
        }
    }
}

/// The spellings that Go's flag package takes, which engines use.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 4] = [
        ("bundle", Some('b'), true),
        ("detach", Some('d'), false),
        ("env", Some('e'), true),
        ("force", Some('f'), false),
    ];

    fn parse(words: &[&str], order: Order) -> Result<Arguments> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned()).collect(), &KNOWN, order)
    }

    #[test]
    fn options_before_and_after_the_id() {
        for words in [
            &["--bundle", "/x", "--detach", "id"][..],
            &["id", "--detach", "--bundle=/x"],
            &["-b", "/x", "id", "-d"],
            &["-db/x", "id"],
            &["-fdb=/x", "id"],
            &["-bundle", "/x", "-detach", "id"],
            &["-d=true", "-bundle=/x", "--", "id"],
        ] {
            let mut given = parse(words, Order::Anywhere).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            assert_eq!(given.value("bundle"), Some("/x"), "{words:?}");
            assert!(given.has("detach") && !given.has("env"), "{words:?}");
            assert_eq!(given.only("an id").unwrap(), "id");
        }
        assert!(!parse(&["--detach=false"], Order::Anywhere).unwrap().has("detach"));
        assert_eq!(
            parse(&["--", "-x"], Order::Anywhere).unwrap().only("an id").unwrap(),
            "-x"
        );
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let words = ["--env=A=1", "-e", "B=2", "id", "sh", "-c", "--bundle"];
        let mut given = parse(&words, Order::First).unwrap();
        assert_eq!(given.values("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(given.positional(), ["id", "sh", "-c", "--bundle"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (words, told) in [
            (&["--nothing"][..], "there is no option --nothing"),
            (&["-x"], "there is no option -x"),
            (&["--d"], "there is no option --d"),
            (&["--bundle"], "the option --bundle needs a value"),
            (&["--detach=maybe"], "--detach is true or false, not \"maybe\""),
        ] {
            assert_eq!(parse(words, Order::Anywhere).unwrap_err().to_string(), told);
        }
        assert!(parse(&["a", "b"], Order::Anywhere).unwrap().only("an id").is_err());
        assert!(
            parse(&["--env=x"], Order::Anywhere)
                .unwrap()
                .number::<u32>("env")
                .is_err()
        );
    }
}
