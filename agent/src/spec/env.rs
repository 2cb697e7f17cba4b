//! A container's environment: Services first, then `envFrom`, then `env`, each able to override what came before.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinds::{Container, EnvVar, Pod};

use super::expand::expand;
use super::fields::{self, Facts};
use crate::objects::{Data, Key, Objects};
use crate::pods::shape;

/// Why an environment cannot be made. The texts are what users see in `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A ConfigMap or Secret that is not optional does not exist.
    #[error("{0} not found")]
    Missing(Box<Key>),
    /// A key that is not optional is not in its object.
    #[error("couldn't find key {key:?} in {object}")]
    MissingKey {
        /// The key.
        key: String,
        /// The object.
        object: Box<Key>,
    },
    /// A value is not text.
    #[error("key {key:?} in {object} is not text")]
    NotText {
        /// The key.
        key: String,
        /// The object.
        object: Box<Key>,
    },
    /// A field or resource reference is wrong.
    #[error("environment variable {name:?}: {source}")]
    Field {
        /// The variable.
        name: String,
        /// What is wrong.
        source: fields::Error,
    },
    /// The resource reference names a container that the pod does not have.
    #[error("environment variable {name:?}: the pod has no container {container:?}")]
    Container {
        /// The variable.
        name: String,
        /// The container.
        container: String,
    },
    /// A source this agent does not know.
    #[error("environment variable {0:?} has a source that is not supported")]
    Source(String),
}

/// The objects a container's environment needs.
pub fn references(pod: &Pod, container: &Container) -> BTreeSet<Key> {
    let namespace = shape::namespace(pod);
    let from = container.env_from.iter().flatten().flat_map(|from| {
        let map = from
            .config_map_ref
            .as_ref()
            .map(|it| Key::config_map(namespace, &it.name));
        map.into_iter()
            .chain(from.secret_ref.as_ref().map(|it| Key::secret(namespace, &it.name)))
    });
    let each = container
        .env
        .iter()
        .flatten()
        .filter_map(|var| var.value_from.as_ref())
        .flat_map(|source| {
            let map = source
                .config_map_key_ref
                .as_ref()
                .map(|it| Key::config_map(namespace, &it.name));
            map.into_iter().chain(
                source
                    .secret_key_ref
                    .as_ref()
                    .map(|it| Key::secret(namespace, &it.name)),
            )
        });
    from.chain(each).collect()
}

/// What a container's environment is made from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// The pod's place.
    pub facts: &'a Facts,
    /// The objects that [`references`] names.
    pub objects: &'a Objects,
    /// Variables of the Services.
    pub services: &'a [(String, String)],
}

/// The variables, in the order they were first named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Environment {
    /// Sets a variable; a known one keeps its place.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        if self.values.insert(name.clone(), value.into()).is_none() {
            self.order.push(name);
        }
    }

    /// Sets a variable unless it is there.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if !self.values.contains_key(name) {
            self.set(name, value);
        }
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// Every variable.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.order
            .iter()
            .map(|name| (name.as_str(), self.values[name].as_str()))
    }

    /// `NAME=value` lines.
    pub fn to_lines(&self) -> Vec<String> {
        self.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// The container's own variables, without the image's.
pub fn build(sources: &Sources<'_>) -> Result<Environment, Error> {
    let mut env = Environment::default();
    for (name, value) in sources.services {
        env.set(name, value);
    }
    env_from(sources, &mut env)?;
    for var in sources.container.env.iter().flatten() {
        if let Some(value) = value(sources, &env, var)? {
            env.set(&var.name, value);
        }
    }
    Ok(env)
}

fn env_from(sources: &Sources<'_>, env: &mut Environment) -> Result<(), Error> {
    let namespace = shape::namespace(sources.pod);
    for from in sources.container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let map = from.config_map_ref.as_ref();
        let secret = from.secret_ref.as_ref();
        let named = map
            .map(|it| (Key::config_map(namespace, &it.name), it.optional))
            .into_iter()
            .chain(secret.map(|it| (Key::secret(namespace, &it.name), it.optional)));
        for (key, optional) in named {
            let Some(data) = find(sources.objects, &key, optional)? else {
                continue;
            };
            for (name, bytes) in &data.values {
                let name = format!("{prefix}{name}");
                // A name the kernel's environment cannot carry is left out, as kubelet does.
                if name.is_empty() || name.contains('=') || name.contains('\0') {
                    tracing::warn!(pod = shape::full_name(sources.pod), %key, name, "key is no name for an environment variable");
                    continue;
                }
                env.set(name.clone(), text(bytes, &name, &key)?);
            }
        }
    }
    Ok(())
}

fn value(sources: &Sources<'_>, env: &Environment, var: &EnvVar) -> Result<Option<String>, Error> {
    let Some(from) = &var.value_from else {
        return Ok(Some(expand(var.value.as_deref().unwrap_or_default(), |name| {
            env.get(name)
        })));
    };
    let namespace = shape::namespace(sources.pod);
    let wrap = |source| Error::Field {
        name: var.name.clone(),
        source,
    };
    if let Some(field) = &from.field_ref {
        return fields::field(sources.pod, &field.field_path, sources.facts)
            .map(Some)
            .map_err(wrap);
    }
    if let Some(selector) = &from.resource_field_ref {
        let container = match selector.container_name.as_deref() {
            None | Some("") => sources.container,
            Some(name) => shape::container(sources.pod, name)
                .map(|(_, container)| container)
                .ok_or_else(|| Error::Container {
                    name: var.name.clone(),
                    container: name.to_owned(),
                })?,
        };
        return fields::resource(container, selector, sources.facts)
            .map(Some)
            .map_err(wrap);
    }
    if let Some(it) = &from.config_map_key_ref {
        return key_value(
            sources.objects,
            &Key::config_map(namespace, &it.name),
            &it.key,
            it.optional,
        );
    }
    if let Some(it) = &from.secret_key_ref {
        return key_value(sources.objects, &Key::secret(namespace, &it.name), &it.key, it.optional);
    }
    Err(Error::Source(var.name.clone()))
}

fn key_value(objects: &Objects, object: &Key, key: &str, optional: Option<bool>) -> Result<Option<String>, Error> {
    let Some(data) = find(objects, object, optional)? else {
        return Ok(None);
    };
    match data.values.get(key) {
        Some(bytes) => text(bytes, key, object).map(Some),
        None if optional == Some(true) => Ok(None),
        None => Err(Error::MissingKey {
            key: key.to_owned(),
            object: Box::new(object.clone()),
        }),
    }
}

fn find<'a>(objects: &'a Objects, key: &Key, optional: Option<bool>) -> Result<Option<&'a Data>, Error> {
    match objects.get(key).and_then(Option::as_deref) {
        None if optional != Some(true) => Err(Error::Missing(Box::new(key.clone()))),
        found => Ok(found),
    }
}

fn text(bytes: &[u8], key: &str, object: &Key) -> Result<String, Error> {
    let not_text = || Error::NotText {
        key: key.to_owned(),
        object: Box::new(object.clone()),
    };
    if bytes.contains(&0) {
        return Err(not_text());
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| not_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn data(pairs: &[(&str, &str)]) -> Option<Arc<Data>> {
        let values = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        Some(Arc::new(Data {
            values,
            ..Data::default()
        }))
    }

    fn run(container: serde_json::Value, objects: &Objects) -> Result<Vec<String>, Error> {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [container]}}),
        )
        .unwrap();
        let services = [("SVC_HOST".to_owned(), "10.0.0.1".to_owned())];
        let sources = Sources {
            container: &pod.spec.as_ref().unwrap().containers[0],
            pod: &pod,
            facts: &Facts::default(),
            objects,
            services: &services,
        };
        build(&sources).map(|env| env.to_lines())
    }

    #[test]
    fn later_sources_override_and_references_see_what_came_before() {
        let objects = Objects::from([
            (Key::config_map("n", "m"), data(&[("A", "map"), ("B", "2")])),
            (Key::secret("n", "s"), data(&[("K", "secret")])),
        ]);
        let got = run(
            json!({"name": "c",
                "envFrom": [{"configMapRef": {"name": "m"}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
                "env": [{"name": "A", "value": "own $(B) $(SVC_HOST) $(LATER)"}, {"name": "LATER", "value": "$$(A)"},
                    {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "K"}}}]}),
            &objects,
        );
        assert_eq!(
            got.unwrap(),
            [
                "SVC_HOST=10.0.0.1",
                "A=own 2 10.0.0.1 $(LATER)",
                "B=2",
                "P_K=secret",
                "LATER=$(A)",
                "NAME=p",
                "S=secret"
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = Objects::from([(Key::config_map("n", "m"), None)]);
        let error = run(
            json!({"name": "c", "envFrom": [{"configMapRef": {"name": "m"}}]}),
            &none,
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "configmap \"n/m\" not found");
        let some = Objects::from([(Key::config_map("n", "m"), data(&[]))]);
        let var = |optional: bool| json!({"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": optional}}}]});
        assert_eq!(
            run(var(false), &some).unwrap_err().to_string(),
            "couldn't find key \"k\" in configmap \"n/m\""
        );
        assert_eq!(run(var(true), &some).unwrap(), ["SVC_HOST=10.0.0.1"]);
        assert_eq!(run(var(true), &none).unwrap(), ["SVC_HOST=10.0.0.1"]);
    }

    #[test]
    fn binary_values_are_no_environment() {
        let objects = Objects::from([(
            Key::secret("n", "s"),
            Some(Arc::new(Data {
                values: [("K".to_owned(), vec![0xff])].into(),
                ..Data::default()
            })),
        )]);
        let got = run(
            json!({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "K"}}}]}),
            &objects,
        );
        assert!(matches!(got, Err(Error::NotText { .. })));
    }
}
