//! Label selectors.

use serde::{Deserialize, Serialize};

use super::Labels;

api_struct! {
    /// Selects objects by their labels.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct LabelSelector {} optional {
        match_labels: Labels,
        match_expressions: Vec<LabelSelectorRequirement>,
    }
}

api_struct! {
    /// One requirement of a selector.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct LabelSelectorRequirement {
        key: String,
        operator: String,
    } optional {
        values: Vec<String>,
    }
}
