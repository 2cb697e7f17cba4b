//! The messages of gnostic's `openapi.v2`, as far as documents use them: which field of which number has a JSON key.

/// How the value of a key is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// A string.
    Text,
    /// A boolean.
    Flag,
    /// A whole number.
    Whole,
    /// Any number.
    Number,
    /// A value of any shape, as YAML text in an `Any`. JSON is YAML.
    Any,
    /// A message.
    Message(&'static Message),
    /// A map, which stands as a message that repeats entries of a name and a value: the path of the value in an entry, and
    /// its message.
    Map(&'static [u32], &'static Message),
    /// A parameter, whose message depends on where the parameter is.
    Parameter,
}

/// One field of a message.
pub(super) struct Field {
    pub(super) key: &'static str,
    /// The number of the field; where messages with one field each stand between, theirs first.
    pub(super) path: &'static [u32],
    pub(super) form: Form,
}

/// One message.
pub(super) struct Message {
    pub(super) fields: &'static [Field],
    /// The number of the field that takes keys that begin with `x-`.
    pub(super) extensions: u32,
}

const fn field(key: &'static str, path: &'static [u32], form: Form) -> Field {
    Field { key, path, form }
}

/// `Document`, without what it is made of piece by piece.
pub(super) static DOCUMENT: Message = Message {
    fields: &[
        field("swagger", &[1], Form::Text),
        field("info", &[2], Form::Message(&INFO)),
    ],
    extensions: 16,
};

/// A part of `Document` that is written entry by entry.
pub(super) struct Part {
    pub(super) key: &'static str,
    /// The number of its field.
    pub(super) number: u32,
    /// The number of the field in it that repeats entries.
    pub(super) entry: u32,
    /// The message of an entry's value.
    pub(super) value: &'static Message,
}

pub(super) static PARTS: [Part; 2] = [
    Part {
        key: "paths",
        number: 8,
        entry: 2,
        value: &PATH_ITEM,
    },
    Part {
        key: "definitions",
        number: 9,
        entry: 1,
        value: &SCHEMA,
    },
];

static INFO: Message = Message {
    fields: &[field("title", &[1], Form::Text), field("version", &[2], Form::Text)],
    extensions: 7,
};

static PATH_ITEM: Message = Message {
    fields: &[
        field("get", &[2], Form::Message(&OPERATION)),
        field("put", &[3], Form::Message(&OPERATION)),
        field("post", &[4], Form::Message(&OPERATION)),
        field("delete", &[5], Form::Message(&OPERATION)),
        field("patch", &[8], Form::Message(&OPERATION)),
        field("parameters", &[9], Form::Parameter),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        field("tags", &[1], Form::Text),
        field("description", &[3], Form::Text),
        field("operationId", &[5], Form::Text),
        field("produces", &[6], Form::Text),
        field("consumes", &[7], Form::Text),
        field("parameters", &[8], Form::Parameter),
        field("responses", &[9], Form::Map(&[2, 1], &RESPONSE)),
        field("schemes", &[10], Form::Text),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[
        field("description", &[1], Form::Text),
        field("schema", &[2, 1], Form::Message(&SCHEMA)),
    ],
    extensions: 5,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        field("description", &[1], Form::Text),
        field("name", &[2], Form::Text),
        field("in", &[3], Form::Text),
        field("required", &[4], Form::Flag),
        field("schema", &[5], Form::Message(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        field("required", &[1], Form::Flag),
        field("in", &[2], Form::Text),
        field("description", &[3], Form::Text),
        field("name", &[4], Form::Text),
        field("type", &[6], Form::Text),
        field("uniqueItems", &[20], Form::Flag),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        field("required", &[1], Form::Flag),
        field("in", &[2], Form::Text),
        field("description", &[3], Form::Text),
        field("name", &[4], Form::Text),
        field("type", &[5], Form::Text),
        field("uniqueItems", &[19], Form::Flag),
    ],
    extensions: 22,
};

static SCHEMA: Message = Message {
    fields: &[
        field("$ref", &[1], Form::Text),
        field("format", &[2], Form::Text),
        field("title", &[3], Form::Text),
        field("description", &[4], Form::Text),
        field("default", &[5], Form::Any),
        field("multipleOf", &[6], Form::Number),
        field("maximum", &[7], Form::Number),
        field("exclusiveMaximum", &[8], Form::Flag),
        field("minimum", &[9], Form::Number),
        field("exclusiveMinimum", &[10], Form::Flag),
        field("maxLength", &[11], Form::Whole),
        field("minLength", &[12], Form::Whole),
        field("pattern", &[13], Form::Text),
        field("maxItems", &[14], Form::Whole),
        field("minItems", &[15], Form::Whole),
        field("uniqueItems", &[16], Form::Flag),
        field("maxProperties", &[17], Form::Whole),
        field("minProperties", &[18], Form::Whole),
        field("required", &[19], Form::Text),
        field("enum", &[20], Form::Any),
        field("additionalProperties", &[21, 1], Form::Message(&SCHEMA)),
        field("type", &[22, 1], Form::Text),
        field("items", &[23, 1], Form::Message(&SCHEMA)),
        field("properties", &[25], Form::Map(&[2], &SCHEMA)),
    ],
    extensions: 31,
};

/// Where in `ParametersItem` a parameter stands, and its message.
pub(super) fn parameter(place: &str) -> (&'static [u32], &'static Message) {
    match place {
        "body" => (&[1, 1], &BODY_PARAMETER),
        "path" => (&[1, 2, 4], &PATH_PARAMETER),
        _ => (&[1, 2, 3], &QUERY_PARAMETER),
    }
}
