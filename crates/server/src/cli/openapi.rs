//! `headwater openapi`

use super::output;
use crate::serve::api_description;

pub(super) fn run() -> anyhow::Result<()> {
    Ok(output::line(&serde_json::to_string_pretty(
        &api_description(),
    )?)?)
}
