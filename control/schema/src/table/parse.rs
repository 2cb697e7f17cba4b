//! Reads `facts.tsv`. Columns are separated by tabs, and empty ones at the end are left out:
//!
//! - `G group versions`: versions are `name:freshness`, joined by commas, the preferred one first.
//! - `R group version plural singular kind N|C verbs shortNames categories`: a resource, (N)amespaced or
//!   (C)luster-wide.
//! - `S name group/version/kind verbs`: a subresource of the resource above.
//! - `T name kind mapType group/version/kind,…`: a type; `*` stands for every group and version.
//! - `F name number shape flags listType[:keys] patchStrategy[:mergeKey] default`: a field of the type above. A shape
//!   is an item with `[]`, `{}` or `{}[]` before it; types of the same package are named by their last part. Flags:
//!   (r)equired, (s)tructure that is always sent, (z)ero means absent.
//! - `I number type`: a message of the type above whose fields are inlined in JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::resources::{Group, GroupVersion, Resource, Subresource};
use super::types::{Container, Field, Item, ListType, PatchStrategy, TypeIndex, TypeKind, TypeRef, TypeRow};

const FACTS: &str = include_str!("facts.tsv");

/// What a field number leads to, as indexes.
#[derive(Clone, Copy)]
pub(super) enum WireRow {
    Field(u32),
    Inline(TypeRef),
}

/// The parsed table. Names are slices of the text itself.
pub(super) struct Table {
    pub(super) groups: Vec<Group>,
    pub(super) resources: Vec<Resource>,
    pub(super) types: Vec<TypeRow>,
    pub(super) fields: Vec<Field>,
    pub(super) wires: Vec<(u16, WireRow)>,
    pub(super) index: TypeIndex,
}

/// The table, parsed at first use.
pub(super) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| parse(FACTS));
    &TABLE
}

fn list(column: &'static str) -> Vec<&'static str> {
    column.split(',').filter(|item| !item.is_empty()).collect()
}

fn parse(facts: &'static str) -> Table {
    let index = type_index(facts);
    let mut table = Table {
        groups: Vec::new(),
        resources: Vec::new(),
        types: Vec::with_capacity(index.by_name.len()),
        fields: Vec::with_capacity(3400),
        wires: Vec::with_capacity(3400),
        index,
    };
    let mut key_lists = HashMap::new();
    for line in facts.lines() {
        let mut columns = line.split('\t');
        let tag = columns.next().unwrap_or_default();
        let mut next = || columns.next().unwrap_or_default();
        match tag {
            "G" => table.groups.push(Group {
                name: next(),
                versions: list(next()).into_iter().map(version).collect(),
            }),
            "R" => table.resources.push(Resource {
                group: next().into(),
                version: next().into(),
                plural: next().into(),
                singular: next().into(),
                kind: next().into(),
                list: Cow::Borrowed(""),
                namespaced: next() == "N",
                verbs: list(next()),
                short_names: list(next()).into_iter().map(Cow::Borrowed).collect(),
                categories: list(next()).into_iter().map(Cow::Borrowed).collect(),
                subresources: Vec::new(),
            }),
            "S" => {
                let name = next();
                let mut gvk = next().split('/');
                let sub = Subresource {
                    name,
                    group: gvk.next().unwrap_or_default().into(),
                    version: gvk.next().unwrap_or_default().into(),
                    kind: gvk.next().unwrap_or_default().into(),
                    verbs: list(next()),
                };
                table
                    .resources
                    .last_mut()
                    .expect("a subresource follows its resource")
                    .subresources
                    .push(sub);
            }
            "T" => {
                finish(&mut table);
                let (fields, wires) = (index32(table.fields.len()), index32(table.wires.len()));
                table.types.push(TypeRow {
                    name: next(),
                    kind: type_kind(next()),
                    map_type: list_type(next()).0,
                    fields: fields..fields,
                    wires: wires..wires,
                    gvks: next(),
                });
            }
            "F" => {
                let package = package(table.types.last().expect("a field follows its type").name);
                let (name, number) = (next(), next().parse().expect("a field number is a number"));
                let (container, item) = shape(next(), package, &table.index);
                let flags = next();
                let (list_type, keys) = list_type(next());
                let (patch_strategy, merge_key) = patch_strategy(next());
                if number > 0 {
                    table.wires.push((number, WireRow::Field(index32(table.fields.len()))));
                }
                let keys = *key_lists.entry(keys).or_insert_with(|| {
                    let mut keys = list(keys);
                    keys.sort_unstable();
                    &*keys.leak()
                });
                table.fields.push(Field {
                    name,
                    number,
                    container,
                    item,
                    required: flags.contains('r'),
                    always: flags.contains('s'),
                    zero_is_absent: flags.contains('z'),
                    list_type,
                    keys,
                    patch_strategy,
                    merge_key,
                    default: next(),
                });
            }
            "I" => {
                let number = next().parse().expect("a field number is a number");
                let ty = *table
                    .index
                    .by_name
                    .get(next())
                    .expect("an inlined message is in the table");
                table.wires.push((number, WireRow::Inline(ty)));
            }
            _ => {}
        }
    }
    finish(&mut table);
    table
}

/// Closes the last type: its ranges end here.
fn finish(table: &mut Table) {
    if let Some(row) = table.types.last_mut() {
        row.fields.end = index32(table.fields.len());
        row.wires.end = index32(table.wires.len());
        table.wires[row.wires.start as usize..].sort_unstable_by_key(|(number, _)| *number);
    }
}

fn index32(length: usize) -> u32 {
    u32::try_from(length).expect("the table has fewer than 2^32 rows")
}

fn version(text: &'static str) -> GroupVersion {
    let (name, freshness) = text.split_once(':').unwrap_or((text, "Current"));
    GroupVersion { name, freshness }
}

/// A first pass over the type lines, so that fields can refer to types further down.
fn type_index(facts: &'static str) -> TypeIndex {
    let mut index = TypeIndex {
        by_kind: HashMap::with_capacity(512),
        by_name: HashMap::with_capacity(1024),
    };
    for (at, line) in facts.lines().filter(|line| line.starts_with("T\t")).enumerate() {
        let ty = TypeRef(u16::try_from(at).expect("the table has fewer than 65536 types"));
        let mut columns = line.split('\t').skip(1);
        let name = columns.next().unwrap_or_default();
        index.by_name.insert(name, ty);
        for gvk in columns
            .nth(2)
            .unwrap_or_default()
            .split(',')
            .filter(|gvk| !gvk.is_empty())
        {
            let mut parts = gvk.split('/');
            if gvk == "*" {
                index
                    .by_kind
                    .insert(("*", "*", name.rsplit_once('.').map_or(name, |(_, short)| short)), ty);
            } else if let (Some(group), Some(version), Some(kind)) = (parts.next(), parts.next(), parts.next()) {
                index.by_kind.insert((group, version, kind), ty);
            }
        }
    }
    index
}

fn package(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(package, _)| package)
}

fn type_kind(text: &str) -> TypeKind {
    match text {
        "struct" => TypeKind::Struct,
        "inline" => TypeKind::Inline,
        "quantity" => TypeKind::Quantity,
        "intorstring" => TypeKind::IntOrString,
        "time" => TypeKind::Time,
        "microtime" => TypeKind::MicroTime,
        "raw" => TypeKind::Raw,
        "any" => TypeKind::Any,
        "schemaorarray" => TypeKind::SchemaOrArray,
        "schemaorbool" => TypeKind::SchemaOrBool,
        "schemaorstrings" => TypeKind::SchemaOrStrings,
        other => panic!("the table names only known kinds of types, not {other}"),
    }
}

fn shape(text: &str, package: &str, index: &TypeIndex) -> (Container, Item) {
    let (container, item) = if let Some(item) = text.strip_prefix("{}[]") {
        (Container::MapOfLists, item)
    } else if let Some(item) = text.strip_prefix("{}") {
        (Container::Map, item)
    } else if let Some(item) = text.strip_prefix("[]") {
        (Container::List, item)
    } else {
        (Container::One, text)
    };
    let item = match item {
        "string" => Item::String,
        "bytes" => Item::Bytes,
        "bool" => Item::Bool,
        "int32" => Item::Int32,
        "int64" => Item::Int64,
        "double" => Item::Double,
        name if name.contains('.') => Item::Type(*index.by_name.get(name).expect("a field's type is in the table")),
        name => {
            let mut full = String::with_capacity(package.len() + 1 + name.len());
            full.push_str(package);
            full.push('.');
            full.push_str(name);
            Item::Type(
                *index
                    .by_name
                    .get(full.as_str())
                    .expect("a field's type is in the table"),
            )
        }
    };
    (container, item)
}

fn list_type(text: &'static str) -> (ListType, &'static str) {
    let (kind, keys) = text.split_once(':').unwrap_or((text, ""));
    let kind = match kind {
        "atomic" => ListType::Atomic,
        "set" => ListType::Set,
        "map" | "granular" => ListType::Map,
        _ => ListType::Unstated,
    };
    (kind, keys)
}

fn patch_strategy(text: &'static str) -> (PatchStrategy, &'static str) {
    let (strategy, key) = text.split_once(':').unwrap_or((text, ""));
    let strategy = match strategy {
        "merge" => PatchStrategy::Merge,
        "replace" => PatchStrategy::Replace,
        "retainKeys" => PatchStrategy::RetainKeys,
        "merge,retainKeys" => PatchStrategy::MergeRetainKeys,
        _ => PatchStrategy::Unstated,
    };
    (strategy, key)
}

#[cfg(test)]
mod tests {
    use super::super::{Container, Item, ListType, TypeKind, Wire, all_types, resource, type_named, type_of};
    use super::*;

    #[test]
    fn every_resource_has_a_type() {
        for resource in &table().resources {
            assert!(
                type_of(&resource.group, &resource.version, &resource.kind).is_some(),
                "{resource:?}"
            );
            if resource.verbs.contains(&"list") {
                assert!(
                    type_of(&resource.group, &resource.version, &resource.list_kind()).is_some(),
                    "{resource:?}"
                );
            }
        }
        assert!(table().resources.len() > 90, "{}", table().resources.len());
    }

    #[test]
    fn pods_are_known_in_full() {
        let pods = resource("", "v1", "pods").unwrap();
        assert!(pods.namespaced && pods.short_names == ["po"] && pods.categories == ["all"]);
        let eviction = pods.subresource("eviction").unwrap();
        assert_eq!(
            (&*eviction.group, &*eviction.version, &*eviction.kind),
            ("policy", "v1", "Eviction")
        );
        let spec = type_named("io.k8s.api.core.v1.PodSpec").unwrap();
        let containers = spec.field("containers").unwrap();
        assert_eq!(
            (containers.container, containers.list_type, containers.keys),
            (Container::List, ListType::Map, &["name"][..])
        );
        assert_eq!(containers.merge_key, "name");
        assert!(containers.required);
        let ports = containers.item_type().unwrap().field("ports").unwrap();
        assert_eq!(ports.keys, ["containerPort", "protocol"]);
        assert_eq!(ports.item_type().unwrap().field("protocol").unwrap().default, "\"TCP\"");
        assert!(spec.field("nodeSelector").unwrap().list_type == ListType::Atomic);
    }

    #[test]
    fn options_belong_to_every_group() {
        assert_eq!(
            type_of("apps", "v1", "DeleteOptions"),
            type_of("", "v1", "DeleteOptions")
        );
        assert!(type_of("apps", "v1", "Nonsense").is_none());
    }

    #[test]
    fn inlined_messages_lead_back_to_the_json_fields() {
        let volume = type_named("io.k8s.api.core.v1.Volume").unwrap();
        let Some(Wire::Inline(source)) = volume.wire(2) else {
            panic!("volumeSource is inlined")
        };
        let Some(Wire::Field(field)) = source.wire(19) else {
            panic!("a config map is a source")
        };
        assert_eq!(field.name, "configMap");
        assert!(volume.field("configMap").is_some());
    }

    #[test]
    fn fields_are_sorted_and_numbers_unique() {
        for ty in all_types() {
            assert!(ty.fields().is_sorted_by(|a, b| a.name < b.name), "{ty:?}");
            let range = &table().types[usize::from(ty.0)].wires;
            let wires = &table().wires[range.start as usize..range.end as usize];
            assert!(wires.is_sorted_by(|a, b| a.0 < b.0), "{ty:?}");
        }
    }

    #[test]
    fn special_types_are_marked() {
        let kind = |name: &str| type_named(name).unwrap().kind();
        assert_eq!(
            kind("io.k8s.apimachinery.pkg.api.resource.Quantity"),
            TypeKind::Quantity
        );
        assert_eq!(
            kind("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            TypeKind::IntOrString
        );
        let requests = type_named("io.k8s.api.core.v1.ResourceRequirements")
            .unwrap()
            .field("requests")
            .unwrap();
        assert_eq!(requests.container, Container::Map);
        assert!(matches!(requests.item, Item::Type(ty) if ty.kind() == TypeKind::Quantity));
    }
}
