//! Whether the files are what they must be.

use crate::edit::Again;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::part::{group_name, text_name};
use crate::rows::{RowKey, Rows};
use crate::shown::{VIEWS, read_views};
use crate::table::{Kind, Table};
use crate::tree::Part;
use crate::view;
use headwater_core::DatabaseId;
use std::collections::BTreeSet;
use std::path::PathBuf;

type Result<T> = std::result::Result<T, LakeError>;

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table's name.
    pub table: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
    mend: Mend,
}

/// How it can be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    /// By rendering a part anew from its rows.
    Render(u64),
    /// By publishing anew.
    Publish,
    /// Not from what the lake has: its rows are lost.
    Anew,
}

/// What [`Lake::check_files`] read, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesReport {
    /// How many tables there are.
    pub tables: usize,
    /// How many files of rows, and their size as Drill reads them.
    pub parts: usize,
    /// The size of these files, in bytes.
    pub bytes: u64,
    /// How many rows there are, of all tables.
    pub rows: u64,
    /// What is wrong; nothing if all is well.
    pub findings: Vec<Finding>,
}

impl FilesReport {
    /// Whether rows are lost, so that the lake has to begin anew.
    pub fn is_beyond_repair(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.mend == Mend::Anew)
    }
}

impl Lake {
    /// Reads every file of the tables as they were absorbed, and compares each with what it must be: rows with their checksums
    /// and their order, texts with rows, links and views with what was published.
    pub fn check_files(&self) -> Result<FilesReport> {
        let mut report = FilesReport::default();
        for table in self.tables() {
            report.tables += 1;
            let mut last = None;
            for group in table.tree.groups() {
                let folder = table.files.group(group.id);
                for part in &group.parts {
                    report.parts += 1;
                    report.bytes += part.bytes;
                    report.rows += u64::from(part.rows);
                    self.check_part(table, part, &mut last, &mut report.findings)?;
                    let link = folder.join(text_name(part.id));
                    if self.disk.size(&link)? != Some(part.bytes) {
                        report.findings.push(Finding {
                            table: table.schema.table.clone(),
                            path: link,
                            reason: "it is not there, or of another size".to_owned(),
                            mend: Mend::Render(part.id),
                        });
                    }
                }
            }
            self.check_version(table, &mut report.findings)?;
        }
        Ok(report)
    }

    fn check_part(
        &self,
        table: &Table,
        part: &Part,
        last: &mut Option<RowKey>,
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        let mut found = |path, reason: String, mend| {
            findings.push(Finding {
                table: table.schema.table.clone(),
                path,
                reason,
                mend,
            });
        };
        let rows = match table.files.load(&self.disk, part) {
            Ok(rows) => rows,
            Err(LakeError::DamagedPart { path, reason }) => {
                found(path, reason, Mend::Anew);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !is_ordered(&rows, part, last) {
            let path = table.files.rows(part.id);
            found(path, "its rows are not in order".to_owned(), Mend::Anew);
            return Ok(());
        }
        let path = table.files.text(part.id);
        let text = self.disk.read(&path)?;
        if text.as_deref() != Some(table.render(&rows)?.as_bytes()) {
            let reason = match text {
                None => "it is not there",
                Some(_) => "it is not what its rows give",
            };
            found(path, reason.to_owned(), Mend::Render(part.id));
        }
        Ok(())
    }

    fn check_version(&self, table: &Table, findings: &mut Vec<Finding>) -> Result<()> {
        let Some(version) = table.shown.visible else {
            return Ok(());
        };
        let folder = table.files.version(version);
        let mut found = |path, reason: &str| {
            findings.push(Finding {
                table: table.schema.table.clone(),
                path,
                reason: reason.to_owned(),
                mend: Mend::Publish,
            });
        };
        let names: BTreeSet<String> = self.disk.list(&folder)?.into_iter().collect();
        let groups = table.tree.groups().iter().map(|group| group_name(group.id));
        if !table.is_behind() && !groups.into_iter().all(|group| names.contains(&group)) {
            found(folder.clone(), "it lacks links to groups of parts");
        }
        let Some(views) = read_views(&self.disk, &folder)? else {
            found(folder.join(VIEWS), "it is not there, or not readable");
            return Ok(());
        };
        for (name, text) in views.views {
            let path = self.place.root.join(view::file_name(&name));
            if self.disk.read(&path)?.as_deref() != Some(text.as_bytes()) {
                found(path, "it is not what was published");
            }
        }
        Ok(())
    }

    /// Notes what is to be made anew from what the lake has; [`Lake::publish`] does so.
    pub fn mend_files(&mut self, report: &FilesReport) {
        for finding in &report.findings {
            let table = self
                .tables_mut()
                .find(|table| table.schema.table == finding.table);
            let Some(table) = table else { continue };
            match finding.mend {
                Mend::Render(part) => match &mut table.again {
                    Again::All => {}
                    Again::These(parts) => {
                        parts.insert(part);
                    }
                    Again::None => table.again = Again::These([part].into()),
                },
                Mend::Publish => table.shown.forget_views(),
                Mend::Anew => {}
            }
        }
        self.declare_all();
    }

    /// Records of one database in the order of their keys, from after `after`: keys and canonical JSON. Gives about `limit` of them,
    /// none only at the end.
    pub fn rows_of(
        &self,
        database: DatabaseId,
        collection: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        let tables = self.tables().filter(|table| table.kind == Kind::Records);
        for table in tables.filter(|table| table.schema.collection == collection) {
            let from = RowKey {
                database,
                key: after.unwrap_or_default().into(),
            };
            let first = table.tree.part_of(&from).map(|part| part.id);
            let parts = table
                .tree
                .parts()
                .skip_while(|part| first.is_some_and(|id| part.id != id));
            for part in parts {
                if part.first.database > database || found.len() >= limit {
                    break;
                }
                let rows = table.files.load(&self.disk, part)?;
                let own = rows.iter().filter(|row| {
                    row.database == database.as_bytes() && after.is_none_or(|after| row.key > after)
                });
                found.extend(own.map(|row| (row.key.to_owned(), row.content.to_owned())));
            }
        }
        Ok(found)
    }
}

fn is_ordered(rows: &Rows, part: &Part, last: &mut Option<RowKey>) -> bool {
    let mut ordered = rows
        .iter()
        .next()
        .is_some_and(|row| row.compare(&part.first).is_eq());
    for row in rows.iter() {
        ordered &= last.as_ref().is_none_or(|last| row.compare(last).is_gt());
        *last = Some(row.to_key());
    }
    ordered
}
