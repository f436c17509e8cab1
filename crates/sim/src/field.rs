//! What one field may show, and what of it the ledger has to hold, by the values that stand.

use crate::coverage::{Case, Coverage};
use crate::order::may_show;
use crate::register::{Put, Standing};
use crate::ruled::chooses;
use headwater_core::{Claim, Conflict, ConflictKind, Policy, Value};

/// One field that is shown, and what is known of it.
pub struct Field<'a> {
    /// What decides over it.
    pub policy: Option<&'a Policy>,
    /// The values that stand.
    pub standing: &'a Standing<'a>,
    /// The value that is shown.
    pub shown: &'a Value,
    /// What the ledger says.
    pub conflict: Option<&'a Conflict>,
}

impl Field<'_> {
    /// Whether a value that stands is part of what is shown.
    fn is_shown(&self, value: &Value) -> bool {
        match (self.policy, value, self.shown) {
            (Some(Policy::KeepAll), ..) => true,
            (policy, Value::Map(part), Value::Map(whole)) if !chooses(policy) => part
                .iter()
                .all(|(name, value)| whole.get(name) == Some(value)),
            (_, value, shown) => value == shown,
        }
    }

    fn losers(&self) -> &[Claim] {
        self.conflict.map_or(&[], |conflict| &conflict.losers)
    }

    fn is_claimed(&self, put: &Put) -> bool {
        self.losers().iter().any(|loser| is_claim_of(loser, put))
    }

    /// What is shown must have been written, and what surely stands be shown or in the ledger.
    pub fn check_roughly(&self, torn: bool, coverage: &mut Coverage) -> Result<(), String> {
        let made = matches!(self.policy, Some(Policy::KeepAll | Policy::Custom { .. }));
        if !made
            && !self
                .standing
                .all
                .iter()
                .any(|put| self.is_shown(&put.value))
        {
            return Err("shows a value that was superseded".into());
        }
        if torn {
            return Ok(());
        }
        coverage.add(Case::Kept);
        let accounted = |put: &&Put| self.is_shown(&put.value) || self.is_claimed(put);
        match self.standing.sure.iter().all(accounted) {
            true => Ok(()),
            false => Err("lost a value that is not in the ledger".into()),
        }
    }

    /// What is shown must be what the values that stand make, and the ledger hold the others.
    pub fn check_exactly(&self) -> Result<(), String> {
        let values = self.standing.values();
        if !may_show(self.policy, &values, self.shown) {
            return Err(format!("shows {:?} of {values:?}", self.shown));
        }
        let last_wins = !chooses(self.policy) || self.is_missing();
        if last_wins
            && !matches!(self.shown, Value::Map(_))
            && !self.standing.may_be_last(self.shown)
        {
            return Err(format!("shows {:?}, which is not the last", self.shown));
        }
        let lost = |put: &&&Put| !self.is_shown(&put.value);
        let lost: Vec<&&Put> = self.standing.all.iter().filter(lost).collect();
        let merges = !chooses(self.policy) && values.iter().all(|value| value.kind() == "map");
        let unresolved = self.is_missing() && values.len() > 1 && !merges;
        let Some(conflict) = self.conflict else {
            return match lost.is_empty() && !unresolved {
                true => Ok(()),
                false => Err(format!("lost {lost:?}, and the ledger does not say so")),
            };
        };
        if lost.len() != conflict.losers.len() || !lost.iter().all(|put| self.is_claimed(put)) {
            return Err(format!("lost {lost:?}, and the ledger says {conflict:?}"));
        }
        let name = self.policy.unwrap_or(&Policy::LastWriter).to_string();
        if conflict.policy != name || conflict.resolved == unresolved {
            return Err(format!("is decided otherwise than by {name}: {conflict:?}"));
        }
        match conflict.shown.as_ref() == Some(self.shown) && conflict.kind == ConflictKind::Values {
            true => Ok(()),
            false => Err("has another conflict than it shows".into()),
        }
    }

    /// Whether no peer can carry out the policy.
    fn is_missing(&self) -> bool {
        match self.policy {
            Some(Policy::Custom { name, .. }) => name != "sum",
            Some(Policy::Other(_)) => true,
            _ => false,
        }
    }
}

fn is_claim_of(claim: &Claim, put: &Put) -> bool {
    let by = claim.by.as_ref();
    claim.value.as_ref() == Some(&put.value)
        && by.is_some_and(|by| put.made.hashes.contains(&by.hash))
}

/// Whether a value is shown together with the others that stand.
pub fn merges(policy: Option<&Policy>, value: &Value) -> bool {
    !chooses(policy) && matches!(value, Value::Map(_))
}
