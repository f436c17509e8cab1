//! What structs and arrays a result holds. Its metadata tells no members' types, so Drill is asked for them by name.

use super::ResultError;
use super::kind::{Kind, parsed};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};

/// How many members all structs of a result can have together: each is an expression in a query.
pub const MAX_MEMBERS: usize = 2_000;

/// What is nested in the values of a column or of a member.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shape {
    members: BTreeMap<String, Shape>,
    /// What stands in arrays.
    elements: Option<Box<Shape>>,
}

impl Shape {
    /// Takes note of one more value. `left` is how many further members there may be.
    pub(super) fn note(&mut self, raw: &RawValue, left: &mut usize) -> Result<(), ResultError> {
        let text = raw.get();
        let malformed = |message| ResultError::Value { message };
        match text.as_bytes().first() {
            Some(b'{') => {
                let members: HashMap<String, &RawValue> = parsed(text).map_err(malformed)?;
                for (name, raw) in members {
                    if !self.members.contains_key(&name) {
                        *left = left.checked_sub(1).ok_or(ResultError::TooManyMembers)?;
                    }
                    self.members.entry(name).or_default().note(raw, left)?;
                }
                Ok(())
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = parsed(text).map_err(malformed)?;
                let elements = self.elements.get_or_insert_default();
                items
                    .into_iter()
                    .try_for_each(|item| elements.note(item, left))
            }
            _ => Ok(()),
        }
    }

    /// The expressions whose types make up that of `path`, in order. The type of an array is that of its elements.
    pub(super) fn expressions(&self, path: &str, all: &mut Vec<String>) {
        match &self.elements {
            Some(elements) if **elements != Self::default() => {
                elements.expressions(&format!("{path}[0]"), all);
            }
            _ if self.members.is_empty() => all.push(path.to_owned()),
            _ => {
                for (name, member) in &self.members {
                    member.expressions(&format!("{path}.{}", quoted(name)), all);
                }
            }
        }
    }

    /// The kind, from those of the [expressions](Self::expressions).
    pub(super) fn kind(&self, kinds: &mut impl Iterator<Item = Kind>) -> Option<Kind> {
        match &self.elements {
            Some(elements) if **elements != Self::default() => elements.kind(kinds),
            _ if self.members.is_empty() => kinds.next(),
            _ => {
                let members = self.members.iter();
                let members =
                    members.map(|(name, member)| Some((name.clone(), member.kind(kinds)?)));
                members.collect::<Option<_>>().map(Kind::Struct)
            }
        }
    }
}

/// A name as Drill takes it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
