//! Acting as somebody else, as headers of a request ask for.

use crate::attributes::{Attributes, Object, Resource};
use crate::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, split_service_account};

const EXTRA: &str = "impersonate-extra-";

/// Whether the name of a header (in lower case) is about impersonation.
pub fn is_about(header: &str) -> bool {
    header.starts_with("impersonate-")
}

/// Whom a request wants to act as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: Vec<(String, Vec<String>)>,
}

impl Impersonation {
    /// Reads headers (names in lower case); `None` if none of them is about this.
    pub fn from_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Option<Self>, String> {
        let mut found = false;
        let mut wanted = Impersonation::default();
        for (name, value) in headers.filter(|(name, _)| is_about(name)) {
            found = true;
            match name {
                "impersonate-user" => value.clone_into(&mut wanted.user),
                "impersonate-uid" => value.clone_into(&mut wanted.uid),
                "impersonate-group" => wanted.groups.push(value.to_owned()),
                _ => {
                    let Some(key) = name.strip_prefix(EXTRA) else { continue };
                    let key = decode(key).to_lowercase();
                    match wanted.extra.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, values)) => values.push(value.to_owned()),
                        None => wanted.extra.push((key, vec![value.to_owned()])),
                    }
                }
            }
        }
        if found && wanted.user.is_empty() {
            return Err("requested impersonation of a group, a UID or extra without impersonating a user".into());
        }
        Ok(found.then_some(wanted))
    }

    /// Lets `allowed` decide about everything that is to be taken on; the first refusal is given back.
    pub fn check(
        &self,
        by: &User,
        mut allowed: impl FnMut(&Attributes<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut ask = |resource: Resource<'_>| {
            allowed(&Attributes {
                user: by,
                verb: "impersonate",
                object: Object::Resource(resource),
            })
        };
        let core = |resource, namespace, name| Resource {
            version: "v1",
            resource,
            namespace,
            name,
            ..Resource::default()
        };
        let authentication = |resource, subresource, name| Resource {
            group: "authentication.k8s.io",
            version: "v1",
            resource,
            subresource,
            name,
            ..Resource::default()
        };
        match split_service_account(&self.user) {
            Some((namespace, name)) => ask(core("serviceaccounts", namespace, name))?,
            None => ask(core("users", "", &self.user))?,
        }
        for group in &self.groups {
            ask(core("groups", "", group))?;
        }
        for (key, values) in &self.extra {
            for value in values {
                ask(authentication("userextras", key, value))?;
            }
        }
        if !self.uid.is_empty() {
            ask(authentication("uids", "", &self.uid))?;
        }
        Ok(())
    }

    /// The user to act as.
    pub fn into_user(self) -> User {
        let mut user = match split_service_account(&self.user) {
            // Without groups of its own a service account has those it would have anyway.
            Some((namespace, name)) if self.groups.is_empty() => User::service_account(namespace, name, ""),
            _ => User {
                name: self.user,
                groups: self.groups,
                ..User::default()
            },
        };
        user.uid = self.uid;
        user.extra = self.extra;
        if user.name == ANONYMOUS {
            user.join(UNAUTHENTICATED);
        } else if !user.is_anonymous() {
            user.join(AUTHENTICATED);
        }
        user
    }
}

/// Decodes `%XX`; what is no valid encoding stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Option<Impersonation>, String> {
        Impersonation::from_headers(headers.iter().copied())
    }

    #[test]
    fn everything_taken_on_is_asked_for() {
        let wanted = read(&[
            ("accept", "x"),
            ("impersonate-user", "alice"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-example.com%2fscope", "a"),
        ]);
        let wanted = wanted.unwrap().unwrap();
        let mut asked = Vec::new();
        let by = User::new("bob", vec![]);
        let all = wanted.check(&by, |asked_for| {
            let resource = asked_for.resource().unwrap();
            asked.push(format!("{} {} {}", resource.group, resource.full(), resource.name));
            Ok(())
        });
        assert_eq!(all, Ok(()));
        assert_eq!(
            asked,
            [
                " users alice",
                " groups dev",
                " groups ops",
                "authentication.k8s.io userextras/example.com/scope a",
                "authentication.k8s.io uids 7"
            ]
        );
        let user = wanted.into_user();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("alice", "7"));
        assert_eq!(user.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!(user.extra("example.com/scope"), ["a"]);
    }

    #[test]
    fn a_user_has_to_be_named() {
        assert_eq!(read(&[("accept", "x")]), Ok(None));
        assert!(read(&[("impersonate-group", "system:masters")]).is_err());
    }

    #[test]
    fn service_accounts_keep_their_groups() {
        let user = read(&[("impersonate-user", "system:serviceaccount:ns:sa")])
            .unwrap()
            .unwrap()
            .into_user();
        assert!(user.is_in("system:serviceaccounts:ns") && user.is_in(AUTHENTICATED));
        let user = read(&[("impersonate-user", "system:anonymous")])
            .unwrap()
            .unwrap()
            .into_user();
        assert_eq!(user.groups, [UNAUTHENTICATED]);
    }
}
