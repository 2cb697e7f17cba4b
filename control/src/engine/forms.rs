//! The versions of a kind: one is stored, the others are shown and taken by conversion.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use barepod_admission::policy::declared;
use barepod_kinds::{Conversion, Invalid};
use barepod_schema::fields::{self, ApplyError, ApplyOptions, UpdateOptions};
use barepod_schema::openapi::Custom;
use barepod_schema::{Resource, Shape, TypeRef};
use barepod_store::Object;
use bytes::Bytes;
use serde_json::Value;

use super::custom::Versions;
use super::encode::to_bytes;
use super::head::parse;
use super::meta;
use super::registry::{Kind, Structure};
use super::request::Request;
use super::status::{ApiError, ApiResult};

/// The versions of a kind, seen from one of them.
#[derive(Debug)]
pub struct Forms {
    /// How objects of this version are stored, if as another one.
    conversion: Option<&'static Conversion>,
    /// Every version; the stored one is first. Empty for kinds that have one.
    all: Vec<Form>,
    /// Of a custom kind, which has none of the others.
    custom: Option<Versions>,
}

#[derive(Debug)]
struct Form {
    api_version: String,
    kind: &'static str,
    ty: TypeRef,
    conversion: Option<&'static Conversion>,
}

impl Forms {
    /// The versions of a resource that is itself stored through `conversion`.
    pub(super) fn of(resource: &Resource, conversion: Option<&'static Conversion>) -> Self {
        let stored = match conversion {
            Some(conversion) => conversion.stored,
            None => (&*resource.group, &*resource.version),
        };
        let rows = barepod_schema::resources().iter();
        let mut all: Vec<Form> = rows
            .filter(|row| row.plural == resource.plural)
            .filter_map(|row| {
                let conversion = barepod_kinds::conversion(&row.group, &row.version, &row.plural);
                let of_this = match conversion {
                    Some(conversion) => conversion.stored == stored,
                    None => (&*row.group, &*row.version) == stored,
                };
                let ty = barepod_schema::type_of(&row.group, &row.version, &row.kind)?;
                of_this.then(|| Form {
                    api_version: row.api_version(),
                    kind: &row.kind,
                    ty,
                    conversion,
                })
            })
            .collect();
        if all.len() < 2 {
            all.clear();
        }
        all.sort_by_key(|form| form.conversion.is_some());
        Forms {
            conversion,
            all,
            custom: None,
        }
    }

    /// The versions of a custom kind.
    pub(super) fn custom(versions: Versions) -> Self {
        Forms {
            conversion: None,
            all: Vec::new(),
            custom: Some(versions),
        }
    }
}

/// The text of an object and the version it is wanted in.
type Wanted = (String, String);
/// Objects in other versions, as far as there are such versions.
type Known = HashMap<Wanted, Option<Value>>;

impl Form {
    fn stamp(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.insert("kind".into(), self.kind.into());
            map.insert("apiVersion".into(), self.api_version.as_str().into());
        }
    }
}

impl Kind {
    /// As OpenAPI documents show it, if it is a custom kind.
    pub fn documented(&self) -> Option<Custom> {
        let versions = self.forms.custom.as_ref()?;
        Some(versions.documented(&self.resource))
    }

    /// What expressions know of its objects; `None` of a custom kind whose definition says nothing.
    pub fn declared(&self) -> Option<Arc<barepod_cel::Decl>> {
        match (&self.structure, self.documented()) {
            (_, Some(custom)) => declared::of_schema(&custom.schema),
            (Structure::Table(ty), None) => Some(declared::of_type(*ty)),
            (Structure::Custom(_), None) => None,
        }
    }

    /// Whether objects are stored in another version than this one.
    pub fn converts(&self) -> bool {
        self.forms.conversion.is_some() || self.forms.custom.is_some()
    }

    /// Group and version that objects are stored in.
    pub fn stored_as(&self) -> (&str, &str) {
        match (self.forms.conversion, &self.forms.custom) {
            (Some(conversion), _) => conversion.stored,
            (None, Some(versions)) => (&self.resource.group, versions.stored_version()),
            (None, None) => (&self.resource.group, &self.resource.version),
        }
    }

    /// Fills the defaults of a stored object.
    pub fn default_stored(&self, object: &mut Value) {
        match (&self.forms.custom, &self.structure) {
            (Some(versions), _) => return versions.fill(object),
            (None, Structure::Table(own)) => {
                let ty = self.forms.all.first().map_or(*own, |form| form.ty);
                barepod_schema::defaults::apply_to_object(ty, object);
            }
            (None, Structure::Custom(_)) => {}
        }
        self.strategy.default(object);
    }

    /// Makes an object of this version, as a client wrote it, a stored one.
    pub async fn to_stored(&self, object: &mut Value) -> ApiResult<()> {
        if let Some(versions) = &self.forms.custom {
            return versions.to_stored(object).await;
        }
        self.to_stored_form(object);
        Ok(())
    }

    fn to_stored_form(&self, object: &mut Value) {
        if let (Some(conversion), Some(stored)) = (self.forms.conversion, self.forms.all.first()) {
            if let Structure::Table(ty) = self.structure {
                barepod_schema::defaults::apply_to_object(ty, object);
            }
            (conversion.default)(object);
            (conversion.to_stored)(object);
            stored.stamp(object);
        }
    }

    /// Makes a stored object one of this version, where they differ in nothing that a webhook has to convert.
    fn dress(&self, object: &mut Value) {
        if let Some(versions) = &self.forms.custom {
            return versions.dress(object);
        }
        if let Some(conversion) = self.forms.conversion {
            (conversion.from_stored)(object);
            if let Some(map) = object.as_object_mut() {
                map.insert("kind".into(), (&*self.resource.kind).into());
                map.insert("apiVersion".into(), self.api_version.as_str().into());
            }
        }
    }

    /// Makes stored objects those of this version.
    pub async fn show(&self, objects: &mut [Value]) -> ApiResult<()> {
        match &self.forms.custom {
            Some(versions) => versions.show(objects).await,
            None => {
                objects.iter_mut().for_each(|object| self.dress(object));
                Ok(())
            }
        }
    }

    /// Checks an object of this version, as a client wrote it, where that cannot be told of the stored one.
    pub(super) async fn judge(
        &self,
        request: &Request,
        name: &str,
        object: &Value,
        current: impl FnOnce() -> Option<Arc<Object>>,
    ) -> ApiResult<()> {
        let Some(versions) = self.forms.custom.as_ref().filter(|versions| versions.reshapes()) else {
            return Ok(());
        };
        let current = current().map(|current| parse(&current));
        let current = match &current {
            Some(current) => Some(self.shown(current).await?),
            None => None,
        };
        let mut filled = object.clone();
        versions.schema_fill(&mut filled);
        let errors = versions.check(&filled, current.as_deref(), &mut request.notes().warnings);
        match errors.is_empty() {
            true => Ok(()),
            false => Err(ApiError::invalid(
                &self.resource.group,
                &self.resource.kind,
                name,
                &errors,
            )),
        }
    }

    /// What this version asks of a stored object beyond what the stored one does.
    pub(super) fn own_rules(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        self.forms
            .conversion
            .map(|conversion| (conversion.rules)(new, old))
            .unwrap_or_default()
    }

    /// Whether stored objects may look otherwise than they are shown, and their columns with them.
    pub fn reshapes(&self) -> bool {
        self.forms.custom.as_ref().is_some_and(Versions::reshapes)
    }

    /// Stored objects as this version shows them, with their texts, where they look otherwise.
    pub(super) async fn reshaped(&self, objects: &[Arc<Object>]) -> ApiResult<Vec<(Value, Bytes)>> {
        let mut values: Vec<Value> = objects.iter().map(|object| parse(object)).collect();
        self.show(&mut values).await?;
        let texts = values.into_iter().map(|value| {
            let text = to_bytes(&value, false).into();
            (value, text)
        });
        Ok(texts.collect())
    }

    /// Makes a stored object one of the form that is stored now; true if it was of another.
    pub(super) async fn renew(&self, object: &mut Value) -> ApiResult<bool> {
        match &self.forms.custom {
            Some(versions) => versions.renew(object).await,
            None => Ok(false),
        }
    }

    /// A stored object as this version shows it.
    pub async fn shown<'v>(&self, stored: &'v Value) -> ApiResult<Cow<'v, Value>> {
        if !self.converts() {
            return Ok(Cow::Borrowed(stored));
        }
        let mut object = stored.clone();
        self.show(slice::from_mut(&mut object)).await?;
        Ok(Cow::Owned(object))
    }

    /// The text of a stored object as this version shows it.
    pub async fn text(&self, object: &Object) -> ApiResult<Bytes> {
        if !self.reshapes() {
            return Ok(self.dressed(object));
        }
        let stored = parse(object);
        Ok(to_bytes(&*self.shown(&stored).await?, false).into())
    }

    /// As [`Kind::text`], of a kind that does not reshape.
    pub(super) fn dressed(&self, object: &Object) -> Bytes {
        if !self.converts() {
            return object.bytes().clone();
        }
        let mut value = parse(object);
        self.dress(&mut value);
        to_bytes(&value, false).into()
    }

    /// As [`Kind::dressed`], of an item of a list.
    pub(super) fn item(&self, object: &Object) -> Bytes {
        let mut value = parse(object);
        self.dress(&mut value);
        if let (Structure::Table(_), Some(map)) = (&self.structure, value.as_object_mut()) {
            map.remove("kind");
            map.remove("apiVersion");
        }
        to_bytes(&value, false).into()
    }

    /// The name in stored objects of a field that clients select by.
    pub fn selectable<'n>(&self, name: &'n str) -> Option<&'n str> {
        let known = |name: &str| self.strategy.selectable_field(&Value::Null, name).is_some();
        match self.forms.conversion {
            Some(conversion) if !conversion.selectable.is_empty() => {
                let found = conversion.selectable.iter().find(|(own, _)| *own == name);
                found.map(|(_, stored)| *stored)
            }
            _ => known(name).then_some(name),
        }
    }

    /// An object of this version in another version of the kind.
    async fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        if let Some(versions) = &self.forms.custom {
            return versions.convert(object, api_version).await;
        }
        let target = self.form(api_version)?;
        let mut object = object.clone();
        self.to_stored_form(&mut object);
        if let Some(conversion) = target.conversion {
            (conversion.from_stored)(&mut object);
            target.stamp(&mut object);
        }
        Some(object)
    }

    fn form(&self, api_version: &str) -> Option<&Form> {
        self.forms.all.iter().find(|form| form.api_version == api_version)
    }

    fn shape_in(&self, api_version: &str) -> Option<Shape<'_>> {
        match &self.forms.custom {
            Some(versions) => versions.shape(api_version),
            None => self.form(api_version).map(|form| form.ty.into()),
        }
    }

    /// Computes with objects in every version of the kind. What a computation lacks is found out, and then it begins again, so
    /// that it need not wait for anything itself.
    async fn in_versions<T>(&self, mut compute: impl FnMut(barepod_schema::Forms<'_>) -> T) -> T {
        let mut known = Known::new();
        loop {
            let (computed, lacking) = self.with_known(&known, &mut compute);
            if lacking.is_empty() {
                return computed;
            }
            for (key, object) in lacking {
                let converted = self.convert(&object, &key.1).await;
                known.insert(key, converted);
            }
        }
    }

    /// One round of [`Kind::in_versions`], and what it lacked.
    fn with_known<T>(
        &self,
        known: &Known,
        compute: &mut impl FnMut(barepod_schema::Forms<'_>) -> T,
    ) -> (T, Vec<(Wanted, Value)>) {
        let lacking = RefCell::new(Vec::new());
        let convert = |object: &Value, api_version: &str| {
            let key = (object.to_string(), api_version.to_owned());
            let Some(found) = known.get(&key) else {
                lacking.borrow_mut().push((key, object.clone()));
                return None;
            };
            self.shape_in(api_version).zip(found.clone())
        };
        let computed = compute(barepod_schema::Forms {
            shape: self.structure.shape(),
            convert: Some(&convert),
        });
        (computed, lacking.into_inner())
    }

    /// Whether the kind has one version, which is stored as it is shown.
    fn is_alone(&self) -> bool {
        match &self.forms.custom {
            Some(versions) => versions.is_alone(),
            None => self.forms.all.is_empty(),
        }
    }

    /// Whether every owner of fields knows them by their names in this version.
    fn alone_in(&self, object: Option<&Value>) -> bool {
        let entries = object.and_then(|object| object.pointer("/metadata/managedFields"));
        let entries = entries.and_then(Value::as_array).into_iter().flatten();
        entries
            .into_iter()
            .all(|entry| entry["apiVersion"] == self.api_version.as_str())
    }

    /// Books who owns what changed between two stored objects.
    pub(super) async fn book(
        &self,
        old: Option<&Value>,
        new: &mut Value,
        options: &UpdateOptions<'_>,
    ) -> ApiResult<()> {
        if self.is_alone() || (!self.converts() && self.alone_in(old) && self.alone_in(Some(new))) {
            fields::update(self.structure.shape(), old, new, options);
            return Ok(());
        }
        let old = match old {
            Some(old) => Some(self.shown(old).await?),
            None => None,
        };
        let shown = self.shown(new).await?.into_owned();
        let booked = self.in_versions(|forms| {
            let mut shown = shown.clone();
            fields::update(forms, old.as_deref(), &mut shown, options);
            meta::of(&mut shown).remove("managedFields")
        });
        match booked.await {
            Some(books) => meta::of(new).insert("managedFields".into(), books),
            None => meta::of(new).remove("managedFields"),
        };
        Ok(())
    }

    /// Applies a configuration of this version to a stored object.
    pub(super) async fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        options: &ApplyOptions<'_>,
    ) -> ApiResult<Result<Value, ApplyError>> {
        if self.is_alone() {
            return Ok(fields::apply(self.structure.shape(), live, config, options));
        }
        let live = match live {
            Some(live) => Some(self.shown(live).await?),
            None => None,
        };
        let applied = self.in_versions(|forms| fields::apply(forms, live.as_deref(), config, options));
        let mut object = match applied.await {
            Ok(object) => object,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(versions) = self.forms.custom.as_ref().filter(|versions| versions.reshapes()) {
            versions.schema_fill(&mut object);
            let errors = versions.check(&object, live.as_deref(), &mut Vec::new());
            if !errors.is_empty() {
                let (group, kind) = (&self.resource.group, &self.resource.kind);
                return Err(ApiError::invalid(group, kind, meta::text(&object, "name"), &errors));
            }
        }
        self.to_stored(&mut object).await?;
        Ok(Ok(object))
    }
}
