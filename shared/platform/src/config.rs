//! A function's settings, parsed from a map; nothing else in the workspace reads the process environment.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The environment of one function: exactly the variables that `template.yaml` names for it.
///
/// A variable is looked up where it is used, so that a function that lacks one fails with its name instead of
/// with a wrong default.
#[derive(Clone, Default)]
pub struct Config(Arc<BTreeMap<String, String>>);

/// A function used a setting that its template entry does not give it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the environment variable {0} is not set for this function in template.yaml")]
pub struct Missing(pub &'static str);

impl Config {
    pub fn from_map(map: BTreeMap<String, String>) -> Self {
        Self(Arc::new(map))
    }

    pub fn get(&self, name: &'static str) -> Result<&str, Missing> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or(Missing(name))
    }
}
