//! What the catalog may say: of several declarations of one thing, the later one that stands.

use crate::register::{Made, Register, Standing};
use automerge::ChangeHash;
use headwater_core::catalog::Collection;
use headwater_core::{CollectionSchema, Value};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// The declarations that were ever made of a collection: of the policies by field, and of the delete rule.
#[derive(Debug, Default)]
pub struct Declared {
    policies: BTreeMap<String, Register>,
    delete: Register,
}

impl Declared {
    /// Someone who had `seen` these changes declared `schema`.
    pub fn wrote(&mut self, schema: &CollectionSchema, made: Made, seen: &HashSet<ChangeHash>) {
        // A declaration that stands already may stay where it is, as the older write.
        let kept = Rc::new(Made {
            hashes: made.hashes.clone(),
            stamp: None,
        });
        let made = [Rc::new(made), kept];
        for (field, policy) in &schema.policies {
            let register = self.policies.entry(field.clone()).or_default();
            declare(register, policy.to_string(), &made, seen);
        }
        if let Some(rule) = schema.delete {
            declare(&mut self.delete, rule.name().to_owned(), &made, seen);
        }
    }

    /// Holds the catalog of someone who has `seen` these changes against what they may see.
    pub fn check(&self, catalog: &Collection, seen: &HashSet<ChangeHash>) -> Result<(), String> {
        for (field, register) in &self.policies {
            let standing = register.standing(seen);
            let shown = catalog.policies.get(field).map(ToString::to_string);
            check(&standing, shown).map_err(|error| format!("the policy of {field} {error}"))?;
        }
        if let Some(field) = catalog
            .policies
            .keys()
            .find(|field| !self.policies.contains_key(*field))
        {
            return Err(format!("no one declared the policy of {field}"));
        }
        let standing = self.delete.standing(seen);
        if !standing.all.is_empty() {
            let shown = Some(catalog.delete.name().to_owned());
            check(&standing, shown).map_err(|error| format!("the delete rule {error}"))?;
        }
        Ok(())
    }
}

fn declare(
    register: &mut Register,
    name: String,
    [made, kept]: &[Rc<Made>; 2],
    seen: &HashSet<ChangeHash>,
) {
    let value = Value::String(name);
    let standing = register.standing(seen);
    let stands = standing.all.iter().any(|put| put.value == value);
    let made = if stands { kept } else { made };
    // What is declared already is not written again.
    if standing.all.is_empty() || standing.all.iter().any(|put| put.value != value) {
        register.supersede(made, seen, |_| false);
        register.put(made, value);
    }
}

fn check(standing: &Standing<'_>, shown: Option<String>) -> Result<(), String> {
    let shown = shown.map(Value::String);
    let stands = match &shown {
        Some(shown) => standing.may_be_last(shown),
        None => standing.all.is_empty(),
    };
    match stands {
        true => Ok(()),
        false => Err(format!("is {shown:?}, which is not the last declaration")),
    }
}
