//! Volumes.

use std::fmt;

use barepod_client::api_struct;
use barepod_client::types::Quantity;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::env::{ObjectFieldSelector, ResourceFieldSelector};

/// A volume of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is made from.
    pub source: VolumeSource,
}

/// What a volume is made from.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeSource {
    /// A directory of the pod's own.
    EmptyDir(EmptyDirVolumeSource),
    /// A path of the node's.
    HostPath(HostPathVolumeSource),
    /// The keys of a ConfigMap.
    ConfigMap(ConfigMapVolumeSource),
    /// The keys of a Secret.
    Secret(SecretVolumeSource),
    /// Fields of the pod.
    DownwardApi(DownwardApiVolumeSource),
    /// Several of them in one directory.
    Projected(ProjectedVolumeSource),
    /// Something the agent cannot make, by its name in the API.
    Unsupported(String),
}

impl Default for VolumeSource {
    /// A volume without a source is an emptyDir.
    fn default() -> Self {
        Self::EmptyDir(EmptyDirVolumeSource::default())
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Volume;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a volume")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Volume, A::Error> {
                let mut volume = Volume::default();
                while let Some(field) = fields.next_key::<String>()? {
                    let source = match field.as_str() {
                        "name" => {
                            volume.name = fields.next_value()?;
                            continue;
                        }
                        "emptyDir" => fields.next_value::<Option<_>>()?.map(VolumeSource::EmptyDir),
                        "hostPath" => fields.next_value::<Option<_>>()?.map(VolumeSource::HostPath),
                        "configMap" => fields.next_value::<Option<_>>()?.map(VolumeSource::ConfigMap),
                        "secret" => fields.next_value::<Option<_>>()?.map(VolumeSource::Secret),
                        "downwardAPI" => fields.next_value::<Option<_>>()?.map(VolumeSource::DownwardApi),
                        "projected" => fields.next_value::<Option<_>>()?.map(VolumeSource::Projected),
                        _ => (fields.next_value::<Option<IgnoredAny>>()?).map(|_| VolumeSource::Unsupported(field)),
                    };
                    if let Some(source) = source {
                        volume.source = source;
                    }
                }
                Ok(volume)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

api_struct! {
    /// A directory of the pod's own.
    #[derive(Deserialize)]
    pub struct EmptyDirVolumeSource {} optional {
        medium: String,
        size_limit: Quantity,
    }
}

api_struct! {
    /// A path of the node's.
    #[derive(Deserialize)]
    pub struct HostPathVolumeSource {
        path: String,
    } optional {
        #[serde(rename = "type")]
        type_: String,
    }
}

api_struct! {
    /// The keys of a ConfigMap, alone or among other sources; there, of a Secret too.
    #[derive(Deserialize)]
    pub struct ConfigMapVolumeSource {
        name: String,
    } optional {
        default_mode: i32,
        items: Vec<KeyToPath>,
        optional: bool,
    }
}

api_struct! {
    /// The keys of a Secret.
    #[derive(Deserialize)]
    pub struct SecretVolumeSource {} optional {
        default_mode: i32,
        items: Vec<KeyToPath>,
        optional: bool,
        secret_name: String,
    }
}

api_struct! {
    /// One key, and the file it becomes.
    #[derive(Deserialize)]
    pub struct KeyToPath {
        key: String,
        path: String,
    } optional {
        mode: i32,
    }
}

api_struct! {
    /// Fields of the pod, alone or among other sources.
    #[derive(Deserialize)]
    pub struct DownwardApiVolumeSource {} optional {
        default_mode: i32,
        items: Vec<DownwardApiVolumeFile>,
    }
}

api_struct! {
    /// One field, and the file it becomes.
    #[derive(Deserialize)]
    pub struct DownwardApiVolumeFile {
        path: String,
    } optional {
        field_ref: ObjectFieldSelector,
        mode: i32,
        resource_field_ref: ResourceFieldSelector,
    }
}

api_struct! {
    /// Several sources in one directory.
    #[derive(Deserialize)]
    pub struct ProjectedVolumeSource {} optional {
        default_mode: i32,
        sources: Vec<VolumeProjection>,
    }
}

api_struct! {
    /// One of them.
    #[derive(Deserialize)]
    pub struct VolumeProjection {} optional {
        config_map: ConfigMapVolumeSource,
        #[serde(rename = "downwardAPI")]
        downward_api: DownwardApiVolumeSource,
        secret: ConfigMapVolumeSource,
        cluster_trust_bundle: IgnoredAny,
        pod_certificate: IgnoredAny,
        service_account_token: ServiceAccountTokenProjection,
    }
}

api_struct! {
    /// A token of the pod's service account.
    #[derive(Deserialize)]
    pub struct ServiceAccountTokenProjection {
        path: String,
    } optional {
        audience: String,
        expiration_seconds: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(json: serde_json::Value) -> Volume {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn sources_are_told_apart() {
        use serde_json::json;
        assert_eq!(volume(json!({"name": "v"})).source, VolumeSource::default());
        let it = volume(json!({"configMap": {"name": "m", "defaultMode": 256}, "name": "v", "secret": null}));
        assert_eq!(it.name, "v");
        assert!(matches!(it.source, VolumeSource::ConfigMap(it) if it.default_mode == Some(256)));
        let it = volume(json!({"name": "v", "nfs": {"server": "s", "path": "/"}}));
        assert_eq!(it.source, VolumeSource::Unsupported("nfs".into()));
        assert!(serde_json::from_value::<Volume>(json!({"name": "v", "hostPath": {"path": 3}})).is_err());
    }
}
