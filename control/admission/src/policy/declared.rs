//! What expressions know of the objects of a kind.

use std::collections::HashMap;
use std::sync::Arc;

use barepod_cel::{Decl, Part};
use barepod_schema::{Container, Field, Item, TypeKind, TypeRef, type_named};
use serde_json::Value;

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A kind that is in the table.
pub fn of_type(ty: TypeRef) -> Arc<Decl> {
    let mut types = Types::default();
    let decl = types.of(ty);
    types.rooted(&decl)
}

/// A kind as its definition states it; `None` if that says nothing of its structure.
pub fn of_schema(schema: &Value) -> Option<Arc<Decl>> {
    Some(Types::default().rooted(&Decl::of_schema(schema, false)?))
}

/// Types that were looked at already. One that is inside itself is known from outside only.
#[derive(Default)]
struct Types(HashMap<TypeRef, Arc<Decl>>);

impl Types {
    /// The same object, with the fields that every object of the API has.
    fn rooted(&mut self, decl: &Arc<Decl>) -> Arc<Decl> {
        let metadata = type_named(METADATA).map_or_else(Decl::unknown, |ty| self.of(ty));
        let text = || Decl::of(Part::String);
        let own = [("apiVersion", text()), ("kind", text()), ("metadata", metadata)];
        Decl::with_fields(decl, own.map(|(name, decl)| (name.to_owned(), decl)))
    }

    fn of(&mut self, ty: TypeRef) -> Arc<Decl> {
        match ty.kind() {
            TypeKind::Time | TypeKind::MicroTime => return Decl::of(Part::Timestamp),
            TypeKind::Struct | TypeKind::Inline => {}
            // Texts or numbers, or anything.
            _ => return Decl::unknown(),
        }
        if let Some(known) = self.0.get(&ty) {
            return known.clone();
        }
        self.0.insert(ty, Decl::unknown());
        let fields = ty.fields().iter();
        let fields = fields.map(|field| (field.name.to_owned(), self.field(field))).collect();
        let decl = Decl::of(Part::Object(fields));
        self.0.insert(ty, decl.clone());
        decl
    }

    fn field(&mut self, field: &Field) -> Arc<Decl> {
        let item = match field.item {
            Item::String => Decl::of(Part::String),
            Item::Bytes => Decl::of(Part::Bytes),
            Item::Bool => Decl::of(Part::Bool),
            Item::Int32 | Item::Int64 => Decl::of(Part::Int),
            Item::Double => Decl::of(Part::Double),
            Item::Type(ty) => self.of(ty),
        };
        match field.container {
            Container::One => item,
            Container::List => Decl::of(Part::List(item)),
            Container::Map => Decl::of(Part::Map(item)),
            Container::MapOfLists => Decl::of(Part::Map(Decl::of(Part::List(item)))),
        }
    }
}
