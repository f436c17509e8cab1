//! One table of a collection: its columns, its rows, and what of it is visible.

use crate::changes::{self, AFTER, BEFORE};
use crate::collection::Step;
use crate::declared::{Catalogs, Declaration, DeclaredType};
use crate::disk::Disk;
use crate::edit::{Again, Changes, Edited, Editor, Render, Watch, remove_part};
use crate::error::LakeError;
use crate::part::{Files, group_name};
use crate::rejected::{self, Rejected};
use crate::render::Renderer;
use crate::rows::{RowKey, RowRef, Rows};
use crate::schema::{Column, Placed, Schema};
use crate::shown::Shown;
use crate::state::TableCommit;
use crate::tree::Tree;
use crate::{conflicts, names};
use headwater_core::json::{record_from_str, record_to_json};
use headwater_core::{DatabaseId, Value};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, LakeError>;

/// What a table shows of its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The records, a row each.
    Records,
    /// What happened to them, a row for each event.
    Changes,
    /// What lost in them, a row for each write that did.
    Conflicts,
    /// The values that do not fit their column's declared type.
    Rejected,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self::Records,
        Self::Changes,
        Self::Conflicts,
        Self::Rejected,
    ];

    /// The name of its folder in the collection's.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Changes => "changes",
            Self::Conflicts => "conflicts",
            Self::Rejected => "rejected",
        }
    }

    /// The table's name, given that of the records.
    pub(crate) fn table(self, records: &str) -> String {
        match self {
            Self::Records => records.to_owned(),
            other => names::companion(records, other.folder()),
        }
    }

    /// The columns that it has from the start, so that an empty one can be queried too.
    fn columns(self) -> &'static [(&'static str, DeclaredType)] {
        match self {
            Self::Records => &[],
            Self::Changes => &changes::COLUMNS,
            Self::Conflicts => &conflicts::COLUMNS,
            Self::Rejected => &rejected::COLUMNS,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    pub kind: Kind,
    pub files: Files,
    /// The folder below the lake's hidden one, with `/`.
    pub folder: String,
    pub schema: Schema,
    /// What the databases declare of it.
    pub catalogs: Catalogs,
    /// In a feed: the declared types of the columns of rows before and after.
    images: BTreeMap<String, DeclaredType>,
    /// In a feed: the places of the columns of these rows, as their own table has them.
    pub places: Vec<Placed>,
    pub tree: Tree,
    /// The commit that changed it last.
    pub changed: u64,
    /// Up to which commit the log was trimmed.
    pub trimmed: u64,
    /// The schema as it is recorded.
    pub recorded: Vec<u8>,
    /// What of it a query can see.
    pub shown: Shown,
    /// Parts whose text is damaged.
    pub again: Again,
}

/// What a table will be once it is committed.
#[derive(Debug)]
pub(crate) struct Staged {
    kind: Kind,
    edited: Edited,
    schema: Option<Vec<u8>>,
    trimmed: u64,
}

impl Table {
    pub(crate) fn new(kind: Kind, files: Files, folder: String, mut schema: Schema) -> Self {
        let typed = |(column, kind): &(&str, DeclaredType)| {
            let declaration = Declaration {
                kind: Some(*kind),
                column: None,
            };
            ((*column).to_owned(), declaration)
        };
        schema.declare(kind.columns().iter().map(typed).collect());
        Self {
            kind,
            files,
            folder,
            schema,
            catalogs: Catalogs::default(),
            images: BTreeMap::new(),
            places: Vec::new(),
            tree: Tree::default(),
            changed: 0,
            trimmed: 0,
            recorded: Vec::new(),
            shown: Shown::default(),
            again: Again::None,
        }
    }

    /// Whether something of it is to be committed beside changed rows.
    pub(crate) fn is_new(&self) -> bool {
        self.recorded.is_empty()
    }

    /// Writes changed rows beside those that stand. Gives nothing if nothing changes. `rejected` has what was rejected of
    /// them before.
    pub(crate) fn stage(
        &mut self,
        disk: &Disk,
        ids: &mut u64,
        changes: &Changes,
        rejected: &Tree,
        watch: Watch<'_>,
    ) -> Result<(Option<Staged>, Rejects)> {
        let again = self.settle();
        let mut rendering = Rendering::new(self.kind, &self.schema, &self.images);
        rendering.clears = rejected.rows() > 0;
        let editor = Editor::new(disk, &self.files, ids, &mut rendering);
        let edited = editor.change(&self.tree, changes, &again, watch)?;
        let rejects = rendering.finish();
        self.schema.note_long(&rejects.long);
        Ok((self.staged(edited, self.trimmed), rejects))
    }

    /// The same of events, which come after all others; those of before the step's `keep_from` go.
    pub(crate) fn stage_log(
        &mut self,
        disk: &Disk,
        ids: &mut u64,
        events: &Changes,
        step: Step,
    ) -> Result<Option<Staged>> {
        let again = self.settle();
        let mut rendering = Rendering::new(self.kind, &self.schema, &self.images);
        let mut steps = LogSteps {
            disk,
            files: &self.files,
            done: None,
        };
        let nothing = Changes::new();
        if again != Again::None {
            let editor = Editor::new(disk, &self.files, ids, &mut rendering);
            let edited = editor.change(&self.tree, &nothing, &again, &mut |_, _, _| {});
            steps.then(edited)?;
        }
        let mut trimmed = self.trimmed;
        let tree = steps.tree(&self.tree);
        let expired = |part: &crate::tree::Part| part.at < step.keep_from;
        if let Some(last) = tree.parts().take_while(|part| expired(part)).last() {
            trimmed = trimmed.max(last_version(disk, &self.files, last)?);
            let editor = Editor::new(disk, &self.files, ids, &mut rendering);
            let edited = editor.trim(&tree, expired);
            steps.then(edited)?;
        }
        if !events.is_empty() {
            let tree = steps.tree(&self.tree);
            let editor = Editor::new(disk, &self.files, ids, &mut rendering);
            let edited = editor.append(&tree, events, step.at);
            steps.then(edited)?;
        }
        let edited = match steps.done {
            Some(edited) => edited,
            None => Edited::nothing(&self.tree),
        };
        self.schema.note_long(&rendering.finish().long);
        Ok(self.staged(edited, trimmed))
    }

    /// Settles the columns; which parts have to be rendered anew.
    fn settle(&mut self) -> Again {
        match self.schema.settle() {
            true => Again::All,
            false => self.again.clone(),
        }
    }

    /// Shows, in a feed, rows of these columns before and after.
    pub(crate) fn follow(&mut self, records: &Schema) {
        for column in [BEFORE, AFTER] {
            self.schema.set(column, records.as_struct());
        }
        self.places = records.placed().collect();
        let typed = |column: &Column| Some((column.field.clone(), column.declared?));
        self.images = records.shown().filter_map(typed).collect();
    }

    /// Leaves nothing of its rows.
    pub(crate) fn stage_anew(&self) -> Staged {
        let edited = Edited {
            tree: Tree::default(),
            old_groups: self.tree.groups().iter().map(|group| group.id).collect(),
            old_parts: self.tree.parts().map(|part| part.id).collect(),
            ..Edited::nothing(&self.tree)
        };
        Staged {
            kind: self.kind,
            edited,
            schema: None,
            trimmed: 0,
        }
    }

    fn staged(&self, edited: Edited, trimmed: u64) -> Option<Staged> {
        let schema = self.schema.to_json();
        let schema = (schema != self.recorded).then_some(schema);
        (schema.is_some() || !edited.is_nothing()).then_some(Staged {
            kind: self.kind,
            edited,
            schema,
            trimmed,
        })
    }

    /// Takes over what was committed as `version`.
    pub(crate) fn committed(&mut self, disk: &Disk, staged: Staged, version: u64) {
        self.tree = staged.edited.tree;
        self.changed = version;
        self.trimmed = staged.trimmed;
        if let Some(schema) = staged.schema {
            self.recorded = schema;
        }
        self.again = Again::None;
        self.schema.mark_rendered();
        for part in staged.edited.old_parts {
            remove_part(disk, &self.files, part);
        }
        for group in staged.edited.old_groups {
            if !self.shown.names(group) {
                let _ = disk.remove_dir(&self.files.group(group));
            }
        }
    }

    /// The name of the table of the records, given that of the changes.
    pub(crate) fn records_table(&self) -> Option<&str> {
        self.schema.table.strip_suffix("_changes")
    }

    /// The header of its files as they stand.
    pub(crate) fn header(&self) -> String {
        header(&self.schema)
    }

    /// The header that a file without rows needs.
    pub(crate) fn typing_row(&self) -> String {
        let mut header = String::new();
        Renderer::new(&self.schema).typing_row(&mut header);
        header
    }

    /// A part's text as it must be.
    pub(crate) fn render(&self, rows: &Rows) -> Result<String> {
        let mut rendering = Rendering::new(self.kind, &self.schema, &self.images);
        let mut text = self.header();
        for row in rows.iter() {
            rendering.row(&mut text, row)?;
        }
        Ok(text)
    }

    /// The content that stands under a key.
    pub(crate) fn get(&self, disk: &Disk, key: &RowKey) -> Result<Option<String>> {
        let Some(part) = self.tree.part_of(key) else {
            return Ok(None);
        };
        let rows = self.files.load(disk, part)?;
        let found = rows.iter().find(|row| row.compare(key).is_eq());
        Ok(found.map(|row| row.content.to_owned()))
    }
}

/// The version of the last event of a part of a log.
fn last_version(disk: &Disk, files: &Files, part: &crate::tree::Part) -> Result<u64> {
    let rows = files.load(disk, part)?;
    let last = rows.iter().last();
    let version = last.and_then(|row| row.key.split_once('-'));
    Ok(version.map_or(0, |(version, _)| {
        u64::from_str_radix(version, 16).unwrap_or(0)
    }))
}

/// Several edits of a log, each on what the one before left.
struct LogSteps<'s> {
    disk: &'s Disk,
    files: &'s Files,
    done: Option<Edited>,
}

impl LogSteps<'_> {
    fn tree(&self, before: &Tree) -> Tree {
        self.done.as_ref().map_or(before, |done| &done.tree).clone()
    }

    fn then(&mut self, edited: Result<Edited>) -> Result<()> {
        match (self.done.take(), edited) {
            (None, edited) => self.done = Some(edited?),
            (Some(before), Ok(edited)) => {
                self.done = Some(before.then(edited, self.disk, self.files));
            }
            (Some(before), Err(error)) => {
                before.discard(self.disk, self.files);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Staged {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.edited.bytes
    }

    pub(crate) fn parts(&self) -> usize {
        self.edited.new_parts.len()
    }

    /// The part of a commit that makes it so.
    pub(crate) fn commit(&self, folder: &str) -> TableCommit {
        TableCommit {
            folder: folder.to_owned(),
            schema: self.schema.clone(),
            new_groups: self.edited.new_groups.clone(),
            old_groups: self.edited.old_groups.clone(),
            trimmed: self.trimmed,
        }
    }

    /// Removes what was written, since it is not committed.
    pub(crate) fn discard(&self, disk: &Disk, files: &Files) {
        self.edited.discard(disk, files);
    }
}

impl Edited {
    fn nothing(tree: &Tree) -> Self {
        Self {
            tree: tree.clone(),
            new_groups: Vec::new(),
            old_groups: Vec::new(),
            new_parts: Vec::new(),
            old_parts: Vec::new(),
            bytes: 0,
        }
    }

    fn is_nothing(&self) -> bool {
        self.new_groups.is_empty() && self.old_groups.is_empty()
    }

    /// This edit and then another one on what it left. What only stood between the two goes.
    fn then(self, next: Self, disk: &Disk, files: &Files) -> Self {
        let (gone, old_parts): (Vec<u64>, Vec<u64>) = next
            .old_parts
            .iter()
            .partition(|part| self.new_parts.contains(part));
        gone.iter().for_each(|part| remove_part(disk, files, *part));
        let ours = |id: &u64| self.new_groups.iter().any(|group| group.id == *id);
        let (between, old_groups): (Vec<u64>, Vec<u64>) =
            next.old_groups.iter().partition(|id| ours(id));
        for group in &between {
            let _ = disk.remove_dir(&files.folder.join(group_name(*group)));
        }
        let mut new_groups = self.new_groups;
        new_groups.retain(|group| !between.contains(&group.id));
        let mut new_parts = self.new_parts;
        new_parts.retain(|part| !gone.contains(part));
        Self {
            tree: next.tree,
            new_groups: [new_groups, next.new_groups].concat(),
            old_groups: [self.old_groups, old_groups].concat(),
            new_parts: [new_parts, next.new_parts].concat(),
            old_parts: [self.old_parts, old_parts].concat(),
            bytes: self.bytes + next.bytes,
        }
    }
}

fn header(schema: &Schema) -> String {
    let mut header = String::new();
    if schema.is_nested() {
        Renderer::new(schema).typing_row(&mut header);
    }
    header
}

/// What came up while rows were rendered.
#[derive(Debug, Default)]
pub(crate) struct Rejects {
    /// By key: the content of its rows in the table of rejected values; none if everything fitted.
    pub rows: BTreeMap<RowKey, Option<Box<str>>>,
    long: crate::render::Long,
}

/// Rows of one table as Drill reads them.
struct Rendering<'s> {
    kind: Kind,
    collection: &'s str,
    images: &'s BTreeMap<String, DeclaredType>,
    renderer: Renderer<'s>,
    header: String,
    rejects: Rejects,
    /// Whether values of some row were rejected before.
    clears: bool,
}

impl<'s> Rendering<'s> {
    fn new(kind: Kind, schema: &'s Schema, images: &'s BTreeMap<String, DeclaredType>) -> Self {
        Self {
            kind,
            collection: &schema.collection,
            images,
            renderer: Renderer::new(schema),
            header: header(schema),
            rejects: Rejects::default(),
            clears: false,
        }
    }

    fn finish(self) -> Rejects {
        Rejects {
            long: self.renderer.long,
            ..self.rejects
        }
    }

    fn event(&mut self, out: &mut String, content: &str) -> std::result::Result<(), String> {
        let (database, key, mut record) = changes::row_of(content)?;
        for column in [BEFORE, AFTER] {
            if let Some(Value::Map(image)) = record.get_mut(column) {
                // What the table rejects is not in the feed's columns either.
                let declared = |field: &String| self.images.get(field);
                image.retain(|field, value| declared(field).is_none_or(|kind| kind.fits(value)));
            }
        }
        self.renderer.row(out, database, &key, &record);
        Ok(())
    }

    fn note_rejected(&mut self, row: RowRef<'_>, rejected: Vec<Rejected>) {
        let lines = rejected.into_iter().map(|one| record_to_json(&one.row()));
        let lines: Vec<String> = lines.collect();
        let content = (!lines.is_empty()).then(|| lines.join("\n").into());
        if content.is_some() || self.clears {
            self.rejects.rows.insert(row.to_key(), content);
        }
    }
}

impl Render for Rendering<'_> {
    fn row(&mut self, out: &mut String, row: RowRef<'_>) -> Result<()> {
        let collection = self.collection;
        let failed = |reason: String| LakeError::Row {
            collection: collection.to_owned(),
            key: row.key.to_owned(),
            reason,
        };
        if self.kind == Kind::Changes {
            return self.event(out, row.content).map_err(failed);
        }
        let database = DatabaseId::from_bytes(*row.database);
        for line in row.content.lines() {
            let record = record_from_str(line).map_err(|error| failed(error.to_string()))?;
            let rejected = self.renderer.row(out, database, row.key, &record);
            if self.kind == Kind::Records {
                self.note_rejected(row, rejected);
            }
        }
        Ok(())
    }

    fn header(&self) -> &str {
        &self.header
    }
}
