//! Changes of rows become new parts and groups beside the old ones, which stay until the change is committed.

use crate::disk::{Disk, Unsynced};
use crate::error::LakeError;
use crate::part::{Files, Open, group_name, text_name};
use crate::rows::{RowKey, RowRef};
use crate::tree::{Group, MIN_PART, Part, Tree, grouped};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Result<T> = std::result::Result<T, LakeError>;

/// What is to stand under each key: content as in [`RowRef::content`], or nothing.
pub(crate) type Changes = BTreeMap<RowKey, Option<Box<str>>>;

/// How many small parts may stand at the end of a table that is only appended to.
const MAX_APPENDED: usize = 24;

/// Writes rows as Drill reads them.
pub(crate) trait Render {
    /// The lines of one row, each with its end.
    fn row(&mut self, out: &mut String, row: RowRef<'_>) -> Result<()>;
    /// The line that begins each file, or nothing.
    fn header(&self) -> &str;
}

/// Who wants to know what changes: a key, what stood under it, and what stands there now.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(&RowKey, Option<&str>, Option<&str>);

/// Which parts are rendered anew although their rows stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Again {
    #[default]
    None,
    These(BTreeSet<u64>),
    All,
}

impl Again {
    fn has(&self, part: &Part) -> bool {
        match self {
            Self::None => false,
            Self::These(parts) => parts.contains(&part.id),
            Self::All => true,
        }
    }
}

/// A table's next parts, which nothing refers to until they are committed.
#[derive(Debug)]
pub(crate) struct Edited {
    pub tree: Tree,
    pub new_groups: Vec<Arc<Group>>,
    pub old_groups: Vec<u64>,
    pub new_parts: Vec<u64>,
    pub old_parts: Vec<u64>,
    /// What was written.
    pub bytes: u64,
}

pub(crate) struct Editor<'e> {
    disk: &'e Disk,
    files: &'e Files,
    /// The last number that named a part or a group.
    ids: &'e mut u64,
    render: &'e mut dyn Render,
    edited: Edited,
    /// What was written and is not on the disk yet.
    unsynced: Unsynced,
}

impl<'e> Editor<'e> {
    pub(crate) fn new(
        disk: &'e Disk,
        files: &'e Files,
        ids: &'e mut u64,
        render: &'e mut dyn Render,
    ) -> Self {
        Self {
            disk,
            files,
            ids,
            render,
            edited: Edited {
                tree: Tree::default(),
                new_groups: Vec::new(),
                old_groups: Vec::new(),
                new_parts: Vec::new(),
                old_parts: Vec::new(),
                bytes: 0,
            },
            unsynced: Unsynced::default(),
        }
    }

    /// Changes rows wherever they stand. On an error nothing that was written stays.
    pub(crate) fn change(
        self,
        tree: &Tree,
        changes: &Changes,
        again: &Again,
        watch: Watch<'_>,
    ) -> Result<Edited> {
        self.run(|editor| {
            let mut groups: Vec<_> = tree.groups().to_vec();
            if groups.is_empty() && !changes.is_empty() {
                groups.push(Arc::new(Group {
                    id: 0,
                    parts: Vec::new(),
                }));
            }
            let mut next = Vec::new();
            for (at, group) in groups.iter().enumerate() {
                let end = groups.get(at + 1).and_then(|next| next.first());
                let mut own = within(changes, group.first().filter(|_| at > 0), end).peekable();
                if own.peek().is_none() && !group.parts.iter().any(|part| again.has(part)) {
                    next.push(Arc::clone(group));
                    continue;
                }
                let parts = editor.change_group(group, changes, (at > 0, end), again, watch)?;
                editor.replace_group(group, parts, &mut next)?;
            }
            Ok(next)
        })
    }

    /// Adds rows after all others.
    pub(crate) fn append(self, tree: &Tree, changes: &Changes, at: i64) -> Result<Edited> {
        self.run(|editor| {
            let mut next: Vec<_> = tree.groups().to_vec();
            let last = next.pop().unwrap_or_else(|| {
                Arc::new(Group {
                    id: 0,
                    parts: Vec::new(),
                })
            });
            let mut parts = last.parts.clone();
            let mut open = Open::default();
            open.at = at;
            let small = |part: &&Part| part.bytes < MIN_PART as u64;
            let tail = parts.iter().rev().take_while(small).count();
            if tail >= MAX_APPENDED {
                for part in parts.split_off(parts.len() - tail) {
                    editor.take(&part, &mut open)?;
                }
            }
            for (key, content) in changes {
                if let Some(content) = content {
                    editor.add(&mut open, key, content)?;
                }
            }
            editor.write(&open, &mut parts)?;
            if parts == last.parts {
                next.extend((!parts.is_empty()).then_some(last));
            } else {
                editor.replace_group(&last, parts, &mut next)?;
            }
            Ok(next)
        })
    }

    /// Drops the parts at the beginning that `expired` picks.
    pub(crate) fn trim(self, tree: &Tree, expired: impl Fn(&Part) -> bool) -> Result<Edited> {
        self.run(|editor| {
            let mut next = Vec::new();
            for group in tree.groups() {
                let gone = group.parts.iter().take_while(|part| expired(part)).count();
                if gone == 0 || !next.is_empty() {
                    next.push(Arc::clone(group));
                    continue;
                }
                editor
                    .edited
                    .old_parts
                    .extend(group.parts[..gone].iter().map(|part| part.id));
                editor.replace_group(group, group.parts[gone..].to_vec(), &mut next)?;
            }
            Ok(next)
        })
    }

    fn run(mut self, edit: impl FnOnce(&mut Self) -> Result<Vec<Arc<Group>>>) -> Result<Edited> {
        let done = edit(&mut self).and_then(|groups| {
            if !self.edited.new_parts.is_empty() {
                let parts = self.files.parts();
                self.disk.sync_dir_for(&mut self.unsynced, &parts)?;
            }
            self.disk.sync(&mut self.unsynced)?;
            Ok(groups)
        });
        match done {
            Ok(groups) => {
                self.edited.tree = Tree::new(groups);
                Ok(self.edited)
            }
            Err(error) => {
                self.edited.discard(self.disk, self.files);
                Err(error)
            }
        }
    }

    fn change_group(
        &mut self,
        group: &Group,
        changes: &Changes,
        (bounded, end): (bool, Option<&RowKey>),
        again: &Again,
        watch: Watch<'_>,
    ) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut open = Open::default();
        let mut all: Vec<Option<&Part>> = group.parts.iter().map(Some).collect();
        if all.is_empty() {
            all.push(None);
        }
        for (at, part) in all.iter().enumerate() {
            let from = part.map(|part| &part.first).filter(|_| bounded || at > 0);
            let to = group.parts.get(at + 1).map(|next| &next.first).or(end);
            let own: Vec<_> = within(changes, from, to).collect();
            match part {
                Some(part) if own.is_empty() && !again.has(part) && open.is_empty() => {
                    parts.push((*part).clone());
                }
                part => {
                    let again = part.is_some_and(|part| again.has(part));
                    self.merge(*part, &own, again, &mut open, &mut parts, watch)?;
                }
            }
            let is_last = at + 1 == all.len();
            if open.bytes() >= MIN_PART && !is_last {
                self.write(&std::mem::take(&mut open), &mut parts)?;
            }
        }
        // Too little for a part of its own goes together with the part before.
        if !open.is_empty()
            && open.bytes() < MIN_PART
            && let Some(before) = parts.pop()
        {
            let mut joined = Open::default();
            self.take(&before, &mut joined)?;
            joined.append(&open);
            open = joined;
        }
        self.write(&open, &mut parts)?;
        Ok(parts)
    }

    /// Takes a part's rows with their changes into `open`, or the part as it is into `parts` if it stays so.
    fn merge(
        &mut self,
        part: Option<&Part>,
        changes: &[(&RowKey, &Option<Box<str>>)],
        again: bool,
        open: &mut Open,
        parts: &mut Vec<Part>,
        watch: Watch<'_>,
    ) -> Result<()> {
        let rows = match part {
            Some(part) => self.files.load(self.disk, part)?,
            None => crate::rows::Rows::default(),
        };
        if let Some(part) = part
            && !again
            && open.is_empty()
            && !is_changed(rows.iter(), changes)
        {
            parts.push(part.clone());
            return Ok(());
        }
        let text = match part {
            Some(part) if !again => self.text(part)?,
            _ => None,
        };
        let mut lines = text.as_deref().map(|text| Lines { rest: text });
        let mut changes = changes.iter().peekable();
        for row in rows.iter() {
            let rendered = lines.as_mut().map(|lines| lines.take(row.content));
            while let Some((key, content)) =
                changes.next_if(|(key, _)| row.compare(key) == Ordering::Greater)
            {
                self.put(open, key, None, content.as_deref(), watch)?;
            }
            match changes.next_if(|(key, _)| row.compare(key) == Ordering::Equal) {
                Some((key, content)) if content.as_deref() != Some(row.content) => {
                    self.put(open, key, Some(row.content), content.as_deref(), watch)?;
                }
                _ => self.keep(open, row, rendered)?,
            }
        }
        for (key, content) in changes {
            self.put(open, key, None, content.as_deref(), watch)?;
        }
        if let Some(part) = part {
            open.at = open.at.max(part.at);
            self.edited.old_parts.push(part.id);
        }
        Ok(())
    }

    fn put(
        &mut self,
        open: &mut Open,
        key: &RowKey,
        before: Option<&str>,
        after: Option<&str>,
        watch: Watch<'_>,
    ) -> Result<()> {
        if before != after {
            watch(key, before, after);
        }
        after.map_or(Ok(()), |content| self.add(open, key, content))
    }

    fn add(&mut self, open: &mut Open, key: &RowKey, content: &str) -> Result<()> {
        let row = RowRef {
            database: key.database.as_bytes(),
            key: &key.key,
            content,
        };
        open.push(row, |out| self.render.row(out, row))
    }

    fn keep(&mut self, open: &mut Open, row: RowRef<'_>, rendered: Option<&str>) -> Result<()> {
        open.push(row, |out| match rendered {
            Some(rendered) => {
                out.push_str(rendered);
                Ok(())
            }
            None => self.render.row(out, row),
        })
    }

    /// Takes all rows of a part into `open`; the part goes.
    fn take(&mut self, part: &Part, open: &mut Open) -> Result<()> {
        let rows = self.files.load(self.disk, part)?;
        let text = self.text(part)?;
        let mut lines = text.as_deref().map(|text| Lines { rest: text });
        for row in rows.iter() {
            let rendered = lines.as_mut().map(|lines| lines.take(row.content));
            self.keep(open, row, rendered)?;
        }
        open.at = open.at.max(part.at);
        self.edited.old_parts.push(part.id);
        Ok(())
    }

    /// A part's text without its header; nothing if it is not there or of another size, so that it is rendered anew.
    fn text(&self, part: &Part) -> Result<Option<String>> {
        let Some(bytes) = self.disk.read(&self.files.text(part.id))? else {
            return Ok(None);
        };
        let header = self.render.header().len();
        let is_whole =
            bytes.len() as u64 == part.bytes && bytes.starts_with(self.render.header().as_bytes());
        let text = String::from_utf8(bytes).ok().filter(|_| is_whole);
        Ok(text.map(|mut text| text.split_off(header)))
    }

    fn write(&mut self, open: &Open, parts: &mut Vec<Part>) -> Result<()> {
        for (rows, text) in open.cut() {
            let id = self.next_id();
            let Some(first) = rows.first().map(|row| row.to_key()) else {
                continue;
            };
            let mut packed = crate::rows::Rows::default();
            rows.iter().for_each(|row| packed.push(*row));
            let packed = packed.pack();
            if self.edited.new_parts.is_empty() {
                self.disk.create_dir(&self.files.parts())?;
            }
            self.edited.new_parts.push(id);
            let header = self.render.header();
            let (whole, later) = ([header.as_bytes(), text.as_bytes()], &mut self.unsynced);
            self.disk.write_for(later, &self.files.text(id), &whole)?;
            self.disk
                .write_for(later, &self.files.rows(id), &[&packed])?;
            let bytes = (header.len() + text.len()) as u64;
            self.edited.bytes += bytes + packed.len() as u64;
            parts.push(Part {
                id,
                first,
                rows: rows.len() as u32,
                bytes,
                at: open.at,
            });
        }
        Ok(())
    }

    /// Puts `parts` into new groups in place of `group`.
    fn replace_group(
        &mut self,
        group: &Group,
        parts: Vec<Part>,
        next: &mut Vec<Arc<Group>>,
    ) -> Result<()> {
        if parts == group.parts && group.id != 0 {
            next.push(Arc::new(Group {
                id: group.id,
                parts,
            }));
            return Ok(());
        }
        if group.id != 0 {
            self.edited.old_groups.push(group.id);
        }
        for parts in grouped(parts) {
            let group = Arc::new(Group {
                id: self.next_id(),
                parts,
            });
            self.edited.new_groups.push(Arc::clone(&group));
            let folder = self.files.group(group.id);
            self.disk.create_dir(&folder)?;
            for part in &group.parts {
                let text = self.files.text(part.id);
                if self.disk.size(&text)?.is_none() {
                    let reason = "it is not there".to_owned();
                    return Err(LakeError::DamagedPart { path: text, reason });
                }
                self.disk.link(&text, &folder.join(text_name(part.id)))?;
            }
            self.disk.sync_dir_for(&mut self.unsynced, &folder)?;
            next.push(group);
        }
        Ok(())
    }

    fn next_id(&mut self) -> u64 {
        *self.ids += 1;
        *self.ids
    }
}

impl Edited {
    /// Removes what was written, as it will not be committed. What cannot be removed now is removed when the lake is opened.
    pub(crate) fn discard(&self, disk: &Disk, files: &Files) {
        for group in &self.new_groups {
            let _ = disk.remove_dir(&files.folder.join(group_name(group.id)));
        }
        self.new_parts
            .iter()
            .for_each(|part| remove_part(disk, files, *part));
    }
}

/// Removes a part's files; what cannot be removed now is removed when the lake is opened.
pub(crate) fn remove_part(disk: &Disk, files: &Files, part: u64) {
    let _ = disk.remove_file(&files.text(part));
    let _ = disk.remove_file(&files.rows(part));
}

fn is_changed<'r>(
    rows: impl Iterator<Item = RowRef<'r>>,
    changes: &[(&RowKey, &Option<Box<str>>)],
) -> bool {
    let mut rows = rows.peekable();
    changes.iter().any(|(key, content)| {
        while rows
            .next_if(|row| row.compare(key) == Ordering::Less)
            .is_some()
        {}
        let stands = rows.next_if(|row| row.compare(key) == Ordering::Equal);
        stands.map(|row| row.content) != content.as_deref()
    })
}

/// The changes of keys from `from` to before `to`.
fn within<'c>(
    changes: &'c Changes,
    from: Option<&RowKey>,
    to: Option<&RowKey>,
) -> impl Iterator<Item = (&'c RowKey, &'c Option<Box<str>>)> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let is_empty = matches!((from, to), (Some(from), Some(to)) if from >= to);
    let from = from.map_or(Unbounded, |from| Included(from.clone()));
    let to = to.map_or(Unbounded, |to| Excluded(to.clone()));
    (!is_empty)
        .then(|| changes.range((from, to)))
        .into_iter()
        .flatten()
}

/// The text of rows, row by row.
struct Lines<'t> {
    rest: &'t str,
}

impl<'t> Lines<'t> {
    /// The lines of the row with this content: one for each of its own.
    fn take(&mut self, content: &str) -> &'t str {
        let mut end = 0;
        for _ in content.split('\n') {
            let line = self.rest.as_bytes()[end..]
                .iter()
                .position(|byte| *byte == b'\n');
            end = line.map_or(self.rest.len(), |line| end + line + 1);
        }
        let (lines, rest) = self.rest.split_at(end);
        self.rest = rest;
        lines
    }
}
